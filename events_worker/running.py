"""Running one handler: sync or async, function or class, within its time limit."""

from __future__ import annotations

import functools
import inspect
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from events_core.containers import Container
from events_core.events import Event
from events_core.handlers import HandlerSpec
from events_worker.async_bridge import AsyncBridge
from events_worker.retries import HandlerTimeout


class _Alarm(BaseException):
    """Ends a sync handler from a signal; no `except Exception` of the handler can swallow it."""


class Runner:
    """Runs handlers in the calling thread; async ones on the process's loop."""

    def __init__(self, container: Container | None) -> None:
        self._container = container
        self._bridge = AsyncBridge()

    def run(self, spec: HandlerSpec, event: Event) -> Any:
        """What the handler returned. Raises whatever it raised, and HandlerTimeout when it ran out of time."""
        if spec.is_async:
            return self._run_async(spec, event)
        return self._call(spec, event) if spec.timeout is None else self._run_limited(spec, event, spec.timeout)

    def _call(self, spec: HandlerSpec, event: Event) -> Any:
        result = self._callable(spec)(event)
        if result is not None and inspect.isawaitable(result):  # a plain decorator around an async function
            result = self._bridge.run(functools.partial(_awaited, result), spec.timeout)
        return result

    def _run_limited(self, spec: HandlerSpec, event: Event, timeout: float) -> Any:
        started = time.monotonic()
        try:
            with _alarm(timeout):
                result = self._call(spec, event)
        except _Alarm:
            raise _timed_out(spec) from None
        if time.monotonic() - started > timeout:
            raise _timed_out(spec)  # a thread cannot be ended: it is late instead
        return result

    def _run_async(self, spec: HandlerSpec, event: Event) -> Any:
        async def call() -> Any:
            return await (await self._acallable(spec))(event)

        started = time.monotonic()
        try:
            return self._bridge.run(call, spec.timeout)
        except TimeoutError:
            if spec.timeout is not None and time.monotonic() - started >= spec.timeout:
                raise _timed_out(spec) from None
            raise

    def _callable(self, spec: HandlerSpec) -> Callable[[Event], Any]:
        if spec.kind != "class":
            return spec.target  # type: ignore[no-any-return]
        instance = self._resolve(spec)
        if inspect.isawaitable(instance):
            instance = self._bridge.run(functools.partial(_awaited, instance))
        return instance.handle  # type: ignore[no-any-return]

    async def _acallable(self, spec: HandlerSpec) -> Callable[[Event], Any]:
        if spec.kind != "class":
            return spec.target  # type: ignore[no-any-return]
        instance = self._resolve(spec)
        if inspect.isawaitable(instance):
            instance = await instance
        return instance.handle  # type: ignore[no-any-return]

    def _resolve(self, spec: HandlerSpec) -> Any:
        return spec.target() if self._container is None else self._container.resolve(spec.target)


async def _awaited(result: Awaitable[Any]) -> Any:
    return await result


def _timed_out(spec: HandlerSpec) -> HandlerTimeout:
    return HandlerTimeout(f"{spec.name} ran longer than its timeout of {spec.timeout:g} s")


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise _Alarm in the block after `seconds`, where signals can: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise _Alarm

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
