"""FastAPI: what an endpoint emits goes out once it and its transaction have succeeded, before the response is sent.

::

    app = FastAPI(lifespan=lifespan(events), dependencies=[held(events)])
    app.add_middleware(CorrelationMiddleware)
    app.add_api_route("/readyz", health(events))

For FastAPI 0.121.1 or newer, where a dependency can say that it ends before the response is sent.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any

from fastapi import Depends, FastAPI
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse

from events_core.bus import EventBus
from events_core.contrib._correlation import CorrelationMiddleware
from events_core.contrib._health import PATIENCE, aping
from events_core.errors import ConfigurationError, EmitMisused
from events_core.hold import held_by
from events_core.system import EventSystem

__all__ = ["CorrelationMiddleware", "held", "health", "lifespan"]

#: Where FastAPI keeps, for one request, what ends when the endpoint has returned.
_STACK = "fastapi_function_astack"


def lifespan(
    system: EventSystem,
    *,
    bus: EventBus | None = None,
    inside: Callable[[Any], AbstractAsyncContextManager[Any]] | None = None,
) -> Callable[[FastAPI], AbstractAsyncContextManager[Any]]:
    """For ``FastAPI(lifespan=...)``: tells at start what is wrong, and closes the system at the end.

    Nothing is connected before the first emit. bus: of `EventSystem.bus`, is started and shut down. inside: a lifespan
    of your own; the bus runs while it does, and what its end emits still goes out.

    Starting raises HandlersNotLoaded, and ConfigurationError where no broker is set; with a bus, what starting that
    raises.
    """

    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncIterator[Any]:
        system.load()
        system.check_broker()
        async with AsyncExitStack() as ends:
            ends.push_async_callback(asyncio.to_thread, system.close)
            state = None if inside is None else await ends.enter_async_context(inside(app))
            if bus is not None:
                ends.push_async_callback(bus.shutdown)  # also where its start fails half-way
                await bus.startup()
            yield state

    return run


def held(system: EventSystem, *, ignore: Collection[Callable[..., Any]] = ()) -> Any:
    """A dependency: what the endpoint emits is held back until it has succeeded, and goes out in one batch.

    For all endpoints as ``FastAPI(dependencies=[held(events)])`` or ``APIRouter(dependencies=[...])``, first in the
    list; for one as ``events: Annotated[EventSystem, held(events)]``. It ends after every other dependency that ends
    before the response is sent (``Depends(..., scope="function")``), whatever their order, so that a transaction among
    them has committed. If one of them or the endpoint raises, nothing goes out; EmitError becomes the response, as
    500 or what your exception handler makes of it. WebSockets hold nothing back.

    FastAPI runs the code after the ``yield`` of any other dependency when the response has been sent. An endpoint that
    emits and has such a dependency raises EmitMisused, for the events would leave before its commit. ignore: those
    that commit nothing there.

    Raises ConfigurationError for an older FastAPI.
    """

    async def hold(connection: HTTPConnection) -> EventSystem:
        if connection.scope["type"] == "http":
            stack: AsyncExitStack | None = connection.scope.get(_STACK)
            if stack is None:
                raise ConfigurationError(
                    "held() does not know this version of FastAPI, which keeps the ends of dependencies elsewhere: "
                    "take the newest celery-events, or emit in `async with events.hold():` around the transaction"
                )
            holding = _Holding(system, connection, ignore)
            await holding.__aenter__()
            earlier = stack.pop_all()
            stack.push_async_exit(holding)  # at the bottom: it ends last
            stack.push_async_exit(earlier)
        return system

    try:
        return Depends(hold, scope="function")
    except TypeError:
        raise ConfigurationError("held() needs FastAPI 0.121.1 or newer: update it") from None


def health(system: EventSystem, *, timeout: float = PATIENCE) -> Callable[[], Awaitable[JSONResponse]]:
    """An endpoint that answers 200 if the broker and the coordination Redis do, else 503; as JSON, without secrets.

    timeout: seconds that it takes at most. Take it for readiness: a restart of this process repairs no broker.
    """

    async def answer() -> JSONResponse:
        found = await aping(system, timeout)
        return JSONResponse(found.as_json(), found.status)

    return answer


class _Holding:
    """`EventSystem.hold` around one request."""

    def __init__(self, system: EventSystem, connection: HTTPConnection, ignore: Collection[Callable[..., Any]]) -> None:
        self._emitter = system.emitter
        self._hold = system.hold()
        self._connection = connection
        self._ignore = ignore
        self._handled: BaseException | None = None

    async def __aenter__(self) -> None:
        self._handled = sys.exception()  # of who calls the application while it handles one
        await self._hold.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        swallowed = sys.exception()  # a dependency that does not raise it again keeps it from us, not from FastAPI
        if error is None and swallowed is not self._handled:
            error = swallowed
        misused = self._misused() if error is None else None
        error = error or misused
        await self._hold.__aexit__(None if error is None else type(error), error, trace)
        if misused is not None:
            raise misused

    def _misused(self) -> EmitMisused | None:
        held = held_by(self._emitter)
        if held is None or not held.events:
            return None
        late = [call for call in _ending_late(_dependant(self._connection.scope)) if call not in self._ignore]
        if not late:
            return None
        scope, name = self._connection.scope, getattr(late[0], "__name__", repr(late[0]))
        return EmitMisused(
            f"{scope['method']} {scope['path']} emitted {held.events[0].event_type}, and nothing was sent: the code "
            f"after the yield of {name} runs when the response was sent, so that events would leave before what it "
            f'commits. Declare it as Depends({name}, scope="function"), or, if it commits nothing there, name it in '
            f"held(..., ignore=[{name}])"
        )


def _dependant(scope: Any) -> Any:
    """The tree of the endpoint's dependencies, those of its routers included."""
    route = scope.get("fastapi", {}).get("effective_route_context") or scope.get("route")
    return getattr(route, "dependant", None)


def _ending_late(dependant: Any) -> Iterator[Callable[..., Any]]:
    for below in getattr(dependant, "dependencies", ()):
        if below.scope != "function" and _yields(below.call):
            yield below.call
        yield from _ending_late(below)


def _yields(call: Any) -> bool:
    while isinstance(call, partial):
        call = call.func
    call = inspect.unwrap(call)
    if not inspect.isroutine(call) and not inspect.isclass(call):
        call = call.__call__
    return inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call)
