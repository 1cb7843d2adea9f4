"""One way of writing what runs sync and async alike: a generator that yields what is to be awaited."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")

#: Runs to the end what it makes, from sync code, and returns its result.
Run = Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]
#: Yields awaitables, is sent their results, and returns T.
Steps = Generator[Awaitable[Any], Any, T]


def walk(steps: Steps[T], run: Run) -> T:
    """The result of the steps; what they await runs by `run`."""
    try:
        waiting = next(steps)
        while True:
            try:
                result = run(functools.partial(_awaited, waiting))
            except BaseException as error:
                if inspect.iscoroutine(waiting):
                    waiting.close()  # one that `run` has refused; nothing to one that has run
                waiting = steps.throw(error)
            else:
                waiting = steps.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


async def awalk(steps: Steps[T]) -> T:
    """As `walk`, in async code."""
    try:
        waiting = next(steps)
        while True:
            try:
                result = await waiting
            except BaseException as error:
                waiting = steps.throw(error)
            else:
                waiting = steps.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


async def _awaited(waiting: Awaitable[Any]) -> Any:
    return await waiting
