"""Mediator: request, handler, events, response."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any, Protocol, runtime_checkable

from events_core.containers.resolving import aresolving, resolving
from events_core.errors import BindError, ConfigurationError
from events_core.events import Event
from events_core.mediator.collecting import Collecting
from events_core.mediator.own_loop import own_loop, running_on
from events_core.mediator.request_map import RequestMap
from events_core.mediator.results import handling, is_async_handler
from events_core.mediator.unended import to_its_end
from events_core.middleware import Handle, RequestMiddleware, Run, chain, in_thread, is_async


@runtime_checkable
class EmitsEvents(Protocol):
    """What emits the events of a mediator: an EventSystem, or anything with these two."""

    def emit_many(self, events: Iterable[Event], /) -> Any:
        """Return when they are safe, in this order."""
        ...

    def aemit_many(self, events: Iterable[Event], /) -> Awaitable[Any]:
        """As `emit_many`, without blocking the event loop."""
        ...


@runtime_checkable
class ProcessesEvents(Protocol):
    """An `EventProcessor`, or anything with these two."""

    def emit_events(self, events: Iterable[Event], /) -> Any:
        """Return when they are safe."""
        ...

    def aemit_events(self, events: Iterable[Event], /) -> Awaitable[Any]:
        """As `emit_events`, without blocking the event loop."""
        ...


class Mediator:
    """Gives each request to its handler, and emits what that has collected.

    request_map: which handler belongs to which request. event_emitter: an EventSystem, or what has emit_many and
    aemit_many. container: makes the handlers, within a scope for each request; default: that of the event_emitter.
    event_processor: emits the events in its place, as a group (`EventProcessor`). middleware: runs around the handlers,
    the first outermost (`RequestMiddleware`).

    Raises ConfigurationError for what cannot emit, BindError for middleware that cannot wrap what is within it.
    """

    def __init__(
        self,
        request_map: RequestMap,
        event_emitter: EmitsEvents | None = None,
        container: Any = None,
        event_processor: ProcessesEvents | None = None,
        middleware: Iterable[RequestMiddleware] = (),
    ) -> None:
        _check_emitter(event_emitter, event_processor)
        self._map = request_map
        self._emitter = event_emitter
        self._own_container = container
        self._processor = event_processor
        self._middleware = tuple(middleware)
        self._check_middleware()

    def send(self, request: Any) -> Any:
        """The response of the request's handler, once its events are safe.

        With an event loop running in this thread, an awaitable of it: ``await mediator.send(request)``, as `asend`.
        Without one the response itself; what is async in handler, middleware or container runs on a loop in another
        thread, to its end.

        Raises what the handler or middleware has raised, and nothing is emitted then; RequestHandlerDoesNotExist,
        BindError, HandlerInUse before it runs; EmitError where the handler has succeeded, and what it has done may be
        committed, but its events could not be emitted.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._send(request)
        return self.asend(request)

    async def asend(self, request: Any) -> Any:
        """As `send`, always a coroutine. A sync handler runs in another thread, with this context.

        Cancelling it cancels an async handler. A sync one cannot be cancelled: it ends, and its events are emitted.
        """
        handler = self._map.get(type(request))
        if is_async_handler(handler):
            return await self._asend(request, handler)
        return await to_its_end(self._asend(request, handler), type(request).__qualname__)

    def _send(self, request: Any) -> Any:
        handler_class = self._map.get(type(request))
        self._check_processor()
        collecting = Collecting()
        with collecting, resolving(self._container, own_loop.run) as resolve:
            handle = self._handle(resolve(handler_class), collecting, own_loop.run)
            response = own_loop.run(lambda: handle(request)) if is_async(handle) else handle(request)
        with collecting.settling() as events:
            if events and self._processor is not None:
                self._processor.emit_events(events)
            elif events and self._emitter is not None:
                self._emitter.emit_many(events)
        return response

    async def _asend(self, request: Any, handler_class: type[Any]) -> Any:
        self._check_processor()
        collecting = Collecting()
        run = running_on(asyncio.get_running_loop())
        with collecting:
            async with aresolving(self._container) as resolve:
                handle = self._handle(await resolve(handler_class), collecting, run)
                response = await (handle if is_async(handle) else in_thread(handle))(request)
        with collecting.settling() as events:
            if events and self._processor is not None:
                await self._processor.aemit_events(events)
            elif events and self._emitter is not None:
                await self._emitter.aemit_many(events)
        return response

    def _check_processor(self) -> None:
        """Before the handler runs: what it does could not be undone."""
        check = getattr(self._processor, "check_may_emit", None)
        if check is not None:
            check()

    def _handle(self, handler: Any, collecting: Collecting, run: Run) -> Handle:
        collecting.of(handler)
        return chain(self._middleware, handling(handler, collecting, run))

    @property
    def _container(self) -> Any:
        own = self._own_container
        return getattr(self._emitter, "container", None) if own is None else own

    def _check_middleware(self) -> None:
        """Tell at once what the first request would find out."""
        chain(self._middleware, lambda request: None)
        for request, handler in self._map.bindings:
            if is_async_handler(handler):
                try:
                    chain(self._middleware, handling(handler, Collecting(), own_loop.run))
                except BindError as error:
                    raise BindError(f"{request.__qualname__}, handled by {handler.__qualname__}: {error}") from None


def _check_emitter(emitter: Any, processor: Any) -> None:
    if emitter is None and processor is None:
        raise ConfigurationError("Mediator(...) needs event_emitter=, an EventSystem, or what its handlers say is lost")
    if emitter is not None and not isinstance(emitter, EmitsEvents):
        raise ConfigurationError(
            f"event_emitter= takes an EventSystem, or what has emit_many and aemit_many, not a {type(emitter).__name__}"
        )
    if processor is not None and not isinstance(processor, ProcessesEvents):
        raise ConfigurationError(
            "event_processor= takes an EventProcessor, or what has emit_events and aemit_events, not a "
            f"{type(processor).__name__}"
        )
