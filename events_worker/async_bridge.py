"""One long-lived event loop per process for async handlers, so that their connection pools survive."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
logger = logging.getLogger(__name__)

#: At most, of the loop's executor; it makes one only where none is idle.
_THREADS = 1000
#: Seconds that a cancelled coroutine has to end.
_TO_BE_CANCELLED = 5.0


class AsyncBridge:
    """Runs coroutines on a loop of its own, from any thread. A forked child gets a loop of its own."""

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    def run(self, make: Callable[[], Coroutine[Any, Any, T]], timeout: float | None = None) -> T:
        """The result of ``await make()``, made and awaited on the loop, in the caller's context.

        timeout: seconds, after which it is cancelled and TimeoutError raised; also where it cannot be cancelled,
        because something blocks the loop.
        """
        answer = _Answer()
        loop = self._loop or self._start()
        loop.call_soon_threadsafe(_start_task, loop, make, timeout, answer)
        try:
            arrived = answer.arrived.acquire(timeout=-1 if timeout is None else timeout + _TO_BE_CANCELLED)
        except BaseException:  # a signal has ended the waiting; what is left of it must not outlive this call
            loop.call_soon_threadsafe(answer.cancel)
            answer.arrived.acquire(timeout=_TO_BE_CANCELLED)
            raise
        if not arrived:
            logger.error("the event loop of the async handlers does not answer: a handler blocks it")
            raise TimeoutError
        if answer.error is not None:
            raise answer.error
        result: T = answer.result
        return result

    def _start(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                # as many threads as runs ask for: sync middleware waits in one for what may need another
                loop.set_default_executor(ThreadPoolExecutor(_THREADS, "events-sync"))
                threading.Thread(target=loop.run_forever, name="events-loop", daemon=True).start()
                self._loop = loop
            return self._loop


class _Answer:
    __slots__ = ("arrived", "error", "result", "task")

    def __init__(self) -> None:
        self.arrived = threading.Lock()  # the cheapest thing to wait on
        self.arrived.acquire()
        self.error: BaseException | None = None
        self.result: Any = None
        self.task: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()


_tasks: set[asyncio.Task[None]] = set()  # the loop itself keeps only weak references


def _start_task(
    loop: asyncio.AbstractEventLoop,
    make: Callable[[], Coroutine[Any, Any, Any]],
    timeout: float | None,
    answer: _Answer,
) -> None:
    task = answer.task = loop.create_task(_answer(make, timeout, answer))
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


async def _answer(make: Callable[[], Coroutine[Any, Any, Any]], timeout: float | None, answer: _Answer) -> None:
    # Every exception becomes an answer: SystemExit or KeyboardInterrupt in a task would end the loop for all.
    try:
        async with asyncio.timeout(timeout):
            answer.result = await make()
    except BaseException as error:
        answer.error = error
    finally:
        answer.arrived.release()
