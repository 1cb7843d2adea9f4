"""Middleware: what is done around each request of a mediator, and around each delivery in a worker."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Protocol

from events_core.errors import BindError
from events_core.events import Event

#: What a middleware is given to go on with: a function of the request or event.
Handle = Callable[[Any], Any]
#: Runs to its end, for sync code, the coroutine that the function makes.
Run = Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]


class RequestMiddleware(Protocol):
    """Runs around the handler of each request: ``Mediator(..., middleware=[...])``.

    ``async def __call__(self, request, handle)`` awaits ``handle(request)``, or does not; what it returns is the
    response. A plain function will do. A sync one, ``def``, goes with sync handlers only.
    """

    def __call__(self, request: Any, handle: Handle, /) -> Any:
        """The response. Raises what the request shall fail with."""
        ...


class DeliveryMiddleware(Protocol):
    """Runs around each run of a delivery in the worker: ``EventSystem(..., middleware=[...])``.

    ``def __call__(self, event, handle)`` returns what ``handle(event)`` returns. Retries and timeouts are around it: it
    runs for each attempt, and what it raises fails the attempt. A sync one goes with every handler. An async one,
    ``async def``, which awaits ``handle(event)``, runs on the loop of the async handlers; around a sync handler it
    moves that to another thread, where a timeout cannot end it.
    """

    def __call__(self, event: Event, handle: Handle, /) -> Any:
        """What the handler returned: events that follow, or None. Raises what the attempt shall fail with."""
        ...


def is_async(called: Any) -> bool:
    """Whether calling it gives a coroutine: an ``async def``, or an object with an async ``__call__``."""
    return inspect.iscoroutinefunction(called) or inspect.iscoroutinefunction(getattr(called, "__call__", None))  # noqa: B004


def chain(middlewares: Iterable[Any], handle: Handle, run: Run | None = None) -> Handle:
    """The function that goes through the middlewares, the first outermost, to `handle`.

    It is async (`is_async`) where the outermost of them is. What is sync within something async runs in another thread,
    with the context of its caller. run: lets sync middleware wrap what is async, by waiting for it in its thread.

    Raises BindError for what cannot be called so, and for sync middleware around something async without `run`.
    """
    for middleware in reversed(list(middlewares)):
        handle = _around(middleware, handle, run)
    return handle


def _around(middleware: Any, inner: Handle, run: Run | None) -> Handle:
    if isinstance(middleware, type) or not callable(middleware):
        raise BindError(f"{middleware!r:.80} is no middleware: give a function, or an instance, not its class")
    if is_async(middleware):
        going_on = inner if is_async(inner) else in_thread(inner)

        async def call_async(given: Any) -> Any:
            return await middleware(given, going_on)

        return call_async
    waiting = _waiting(middleware, inner, run) if is_async(inner) else inner

    def call(given: Any) -> Any:
        return middleware(given, waiting)

    return call


def _waiting(middleware: Any, inner: Handle, run: Run | None) -> Handle:
    if run is not None:
        return lambda given: run(lambda: inner(given))
    name = getattr(middleware, "__qualname__", type(middleware).__qualname__)
    raise BindError(
        f"the middleware {name} is sync, and what it wraps is async: handle(...) would give it a coroutine that nobody "
        "awaits. Write it as async def, with await handle(...): that goes with sync handlers too"
    )


def in_thread(called: Handle) -> Callable[[Any], Awaitable[Any]]:
    """The sync function as an async one: it runs in another thread, with the context of its caller."""

    def within(given: Any) -> Any:
        try:
            return called(given)
        except StopIteration as error:  # which no future can hold: its caller would wait for ever
            raise RuntimeError("StopIteration was raised in a thread: most likely by next() of nothing") from error

    async def call(given: Any) -> Any:
        return await asyncio.to_thread(within, given)

    return call
