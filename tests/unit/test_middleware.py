"""Middleware: the first is outermost, sync and async ones meet where they can, and say so where they cannot."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

import pytest

from events_core.errors import BindError
from events_core.middleware import chain, is_async

Handle = Callable[[Any], Any]
where: ContextVar[str] = ContextVar("where", default="nowhere")


def sync_one(name: str, seen: list[str]) -> Callable[[Any, Handle], Any]:
    def middleware(given: Any, handle: Handle) -> Any:
        seen.append(f"{name} in")
        answer = handle(given)
        seen.append(f"{name} out")
        return f"{name}({answer})"

    return middleware


def async_one(name: str, seen: list[str]) -> Callable[[Any, Handle], Any]:
    async def middleware(given: Any, handle: Handle) -> Any:
        seen.append(f"{name} in")
        answer = await handle(given)
        seen.append(f"{name} out")
        return f"{name}({answer})"

    return middleware


async def answer_async(given: Any) -> str:
    return f"async {given}"


def answer_sync(given: Any) -> str:
    return f"sync {given}"


def ask(handle: Handle, given: Any) -> Any:
    return asyncio.run(handle(given)) if is_async(handle) else handle(given)


@pytest.mark.parametrize("make, handle", [(sync_one, answer_sync), (async_one, answer_async), (async_one, answer_sync)])
def test_the_first_is_outermost(make: Any, handle: Handle) -> None:
    seen: list[str] = []
    chained = chain([make("a", seen), make("b", seen)], handle)
    assert is_async(chained) == (make is async_one)
    assert ask(chained, 1) == f"a(b({handle.__name__[7:]} 1))"
    assert seen == ["a in", "b in", "b out", "a out"]


def test_none() -> None:
    assert chain([], answer_sync) is answer_sync


def test_sync_within_async() -> None:
    """The sync part runs in one thread, with the context of the middleware around it."""
    seen: list[str] = []

    async def outer(given: Any, handle: Handle) -> Any:
        where.set("in the request")
        seen.append(threading.current_thread().name)
        return await handle(given)

    def inner(given: Any, handle: Handle) -> Any:
        seen.append(threading.current_thread().name)
        return handle(given)

    def handle(given: Any) -> str:
        seen.append(threading.current_thread().name)
        return where.get()

    assert ask(chain([outer, inner], handle), 1) == "in the request"
    assert seen[0] != seen[1] == seen[2]


@pytest.mark.parametrize("within", [[], [async_one]])
def test_sync_around_async_is_refused(within: list[Any]) -> None:
    """It would be given a coroutine, which it does not await."""
    with pytest.raises(BindError, match=r"the middleware sync_one.*middleware is sync, and what it wraps is async"):
        chain([sync_one("a", []), *[make("b", []) for make in within]], answer_async)


def test_sync_around_async_where_it_can_wait() -> None:
    def run(make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        return asyncio.run(make())

    chained = chain([sync_one("a", []), async_one("b", [])], answer_async, run)
    assert not is_async(chained)
    assert chained(1) == "a(b(async 1))"


def test_one_that_answers_itself_and_one_that_changes_the_request() -> None:
    def changes(given: int, handle: Handle) -> Any:
        return handle(given + 1)

    async def refuses(given: int, handle: Handle) -> Any:
        raise PermissionError(given)

    assert chain([changes], answer_sync)(1) == "sync 2"
    with pytest.raises(PermissionError):
        ask(chain([refuses], answer_sync), 1)


def test_what_is_async() -> None:
    class Async:
        async def __call__(self, given: Any, handle: Handle) -> Any: ...

        async def method(self) -> None: ...

    class Sync:
        def __call__(self, given: Any, handle: Handle) -> Any: ...

    yes = [Async(), Async().method, functools.partial(answer_async), answer_async]
    no = [Sync(), functools.partial(answer_sync), answer_sync]
    assert [is_async(one) for one in yes] == [True] * 4
    assert [is_async(one) for one in no] == [False] * 3
    for wrong in (Sync, Async, "logging", None):
        with pytest.raises(BindError, match="is no middleware: give a function, or an instance, not its class"):
            chain([wrong], answer_sync)


def test_a_stop_iteration_in_a_thread_does_not_hang() -> None:
    def handle(given: Any) -> Any:
        return next(iter([]))

    with pytest.raises(RuntimeError, match="StopIteration was raised in a thread"):
        ask(chain([async_one("a", [])], handle), 1)
