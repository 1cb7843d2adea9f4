"""Running one handler: sync or async, function or class, within its time limit and its container's scope."""

from __future__ import annotations

import asyncio
import functools
import inspect
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import nullcontext
from typing import Any

from events_core.containers.resolving import AsyncResolve, Resolve, aresolving, resolving
from events_core.events import Event
from events_core.handlers import HandlerSpec
from events_core.hold import kept_so_far
from events_core.middleware import chain, is_async
from events_core.needs import DependencyError, name_of, needs_of
from events_core.scope import current_scope
from events_worker.alarm import Alarm, alarm
from events_worker.async_bridge import AsyncBridge
from events_worker.retries import HandlerTimeout

#: Seconds that the scope of a handler with a timeout has to end, beyond that. With what the bridge waits for a
#: cancelled coroutine it stays below HARD_LIMIT_GRACE.
_TO_CLOSE = 10.0
#: What is done with what a handler returned.
Finish = Callable[[HandlerSpec, Any], None]


class Runner:
    """Runs handlers in the calling thread; async ones on the process's loop.

    container: makes handler instances, and what functions ask for; None is the default container. middleware: wraps
    each run, the first outermost.
    """

    def __init__(self, container: Any = None, middleware: Sequence[Any] = ()) -> None:
        self._container = container
        self._middleware = tuple(middleware)
        self._bridge = AsyncBridge()
        self._scoped: dict[type[Any], bool] = {}

    def run(self, spec: HandlerSpec, event: Event, finish: Finish | None = None) -> Any:
        """What the handler returned. Raises whatever it raised, and HandlerTimeout when it ran out of time.

        finish: called with what it returned, while the container's scope is open: what fails there is rolled back too.
        Raises also what ending the scope raises after a success, and DependencyError for what cannot be made.
        """
        if self._middleware or spec.parameters or (spec.kind == "class" and self._is_scoped(spec.target)):
            on_loop = spec.is_async and (not self._middleware or is_async(self._middleware[0]))
            return self._arun_scoped(spec, event, finish) if on_loop else self._run_scoped(spec, event, finish)
        # The ordinary case: no lambdas in this function, which would make every call of it slower.
        if spec.is_async:
            returned = self._run_async(spec, event)
        elif spec.timeout is None:
            returned = spec.target(event) if spec.kind == "function" else spec.target().handle(event)
            if returned is not None:
                returned = self._awaited(spec, returned)
        else:
            returned = self._run_limited(spec, event)
        if returned is not None and finish is not None:
            finish(spec, returned)
        return returned

    def _is_scoped(self, handler: type[Any]) -> bool:
        try:
            return self._scoped[handler]
        except KeyError:
            scoped = self._scoped[handler] = self._container is not None or _asks(handler)
            return scoped

    def _run_async(self, spec: HandlerSpec, event: Event) -> Any:
        async def call() -> Any:
            return await _alone(spec)(event)

        return self._on_loop(spec, call, spec.timeout)

    def _run_limited(self, spec: HandlerSpec, event: Event) -> Any:
        return _limited(spec, lambda: self._awaited(spec, _alone(spec)(event)))

    def _awaited(self, spec: HandlerSpec, result: Any) -> Any:
        """The result; of a plain decorator around an async function too."""
        if not inspect.isawaitable(result):
            return result
        return self._bridge.run(functools.partial(_awaited, result), spec.timeout)

    def _on_loop(self, spec: HandlerSpec, call: Callable[[], Coroutine[Any, Any, Any]], timeout: float | None) -> Any:
        started = time.monotonic()
        try:
            return self._bridge.run(call, timeout)
        except TimeoutError:
            if timeout is not None and time.monotonic() - started >= timeout:
                raise _timed_out(spec) from None
            raise

    # --- within a scope

    def _run_scoped(self, spec: HandlerSpec, event: Event, finish: Finish | None) -> Any:
        def call() -> Any:
            return self._through_middleware(spec, self._handle(spec, resolve))(event)

        run = functools.partial(self._bridge.run, timeout=_with_closing(spec))
        in_thread = not spec.is_async and not any(is_async(middleware) for middleware in self._middleware)
        with resolving(self._container, run) as resolve:
            returned = _limited(spec, call, ring=in_thread)
            if finish is not None:
                finish(spec, returned)
        return returned

    def _arun_scoped(self, spec: HandlerSpec, event: Event, finish: Finish | None) -> Any:
        async def call() -> Any:
            async with aresolving(self._container) as resolve:
                returned = await _alimited(spec, lambda: self._ahandle(spec, event, resolve))
                if finish is not None:
                    finish(spec, returned)
            return returned

        return self._on_loop(spec, call, _with_closing(spec))

    def _handle(self, spec: HandlerSpec, resolve: Resolve) -> Callable[[Event], Any]:
        try:
            target = resolve(spec.target).handle if spec.kind == "class" else spec.target
            given = {name: resolve(wanted) for name, wanted in spec.needs}
        except DependencyError as error:
            raise _of(spec, error) from error.__cause__
        return functools.partial(target, **given) if given else target

    def _through_middleware(self, spec: HandlerSpec, handle: Callable[[Event], Any]) -> Callable[[Event], Any]:
        """What runs the handler from this thread.

        Async middleware moves a sync handler to another thread. That one cannot be ended, and is waited for: its scope
        must stay open as long as it runs.
        """
        if spec.is_async:
            run = functools.partial(self._bridge.run, timeout=spec.timeout)
            return chain(self._middleware, _aforgetting(handle) if self._middleware else handle, run)
        handled = _forgetting(lambda event: self._awaited(spec, handle(event)))
        whole = chain(self._middleware, handled, self._bridge.run)
        return (lambda event: self._bridge.run(lambda: whole(event))) if is_async(whole) else whole

    async def _ahandle(self, spec: HandlerSpec, event: Event, resolve: AsyncResolve) -> Any:
        try:
            target = (await resolve(spec.target)).handle if spec.kind == "class" else spec.target
            given = {name: await resolve(wanted) for name, wanted in spec.needs}
        except DependencyError as error:
            raise _of(spec, error) from error.__cause__
        handle = functools.partial(target, **given) if given else target
        run = functools.partial(self._bridge.run, timeout=spec.timeout)
        return await chain(self._middleware, _aforgetting(handle) if self._middleware else handle, run)(event)


def _forgetting(handle: Callable[[Event], Any]) -> Callable[[Event], Any]:
    """What it has emitted is forgotten where it fails: middleware may run it again, or go on without it."""

    def call(event: Event) -> Any:
        kept = _kept()
        try:
            return handle(event)
        except BaseException:
            _cut(kept)
            raise

    return call


def _aforgetting(handle: Callable[[Event], Any]) -> Callable[[Event], Any]:
    """As `_forgetting`, of an async one."""

    async def call(event: Event) -> Any:
        kept = _kept()
        try:
            return await handle(event)
        except BaseException:
            _cut(kept)
            raise

    return call


def _kept() -> list[tuple[list[Any], int]]:
    scope = current_scope()
    own: list[tuple[list[Any], int]] = [] if scope is None else [(scope.held, len(scope.held))]
    return own + kept_so_far()


def _cut(kept: list[tuple[list[Any], int]]) -> None:
    for emitted, length in kept:
        del emitted[length:]


def _with_closing(spec: HandlerSpec) -> float | None:
    return None if spec.timeout is None else spec.timeout + _TO_CLOSE


def _alone(spec: HandlerSpec) -> Callable[[Event], Any]:
    return spec.target().handle if spec.kind == "class" else spec.target  # type: ignore[no-any-return]


def _limited(spec: HandlerSpec, call: Callable[[], Any], *, ring: bool = True) -> Any:
    """What `call` gives within the handler's timeout. ring: it may be ended by an alarm."""
    if spec.timeout is None:
        return call()
    started = time.monotonic()
    try:
        with alarm(spec.timeout) if ring else nullcontext():
            result = call()
    except Alarm:
        raise _timed_out(spec) from None
    except TimeoutError:  # of something async that a thread has waited for
        if time.monotonic() - started > spec.timeout:
            raise _timed_out(spec) from None
        raise
    if time.monotonic() - started > spec.timeout:
        raise _timed_out(spec)  # a thread cannot be ended: it is late instead
    return result


async def _alimited(spec: HandlerSpec, call: Callable[[], Awaitable[Any]]) -> Any:
    if spec.timeout is None:
        return await call()
    limit = asyncio.timeout(spec.timeout)
    try:
        async with limit:
            return await call()
    except TimeoutError:
        if limit.expired():
            raise _timed_out(spec) from None
        raise


def _asks(handler: type[Any]) -> bool:
    """Whether its constructor must be given anything."""
    try:
        return bool(needs_of(handler))
    except DependencyError:
        return True
    except (TypeError, ValueError):
        return False  # nothing can be told of it


def _of(spec: HandlerSpec, error: DependencyError) -> DependencyError:
    return error if spec.kind == "class" else error.asked_by(name_of(spec.target))


async def _awaited(result: Awaitable[Any]) -> Any:
    return await result


def _timed_out(spec: HandlerSpec) -> HandlerTimeout:
    return HandlerTimeout(f"{spec.name} ran longer than its timeout of {spec.timeout:g} s")
