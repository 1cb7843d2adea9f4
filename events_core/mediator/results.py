"""Calling a handler: what it returned or yielded is the response, or events, which are collected."""

from __future__ import annotations

import inspect
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from events_core.errors import NotAnEvent
from events_core.events import Event
from events_core.mediator.call_events import CallEvents
from events_core.mediator.collecting import Collecting
from events_core.middleware import Handle, Run


def is_async_handler(handler: Any) -> bool:
    """Whether its `handle` is an ``async def``; handler: an instance, or its class."""
    return inspect.iscoroutinefunction(handler.handle) or inspect.isasyncgenfunction(handler.handle)


def handling(handler: Any, collecting: Collecting, run: Run) -> Handle:
    """The function that gives a request to the handler and returns its response; async for an async handler.

    Events that it returns or yields are collected too. run: runs to its end what a sync one gives to be awaited.
    """
    events = collecting.of_call
    if is_async_handler(handler):

        async def handle_async(request: Any) -> Any:
            with collecting.attempt():
                return await _aresponse(handler.handle(request), events)

        return handle_async

    def handle(request: Any) -> Any:
        with collecting.attempt():
            result = handler.handle(request)
            if inspect.isawaitable(result) or inspect.isasyncgen(result):  # a plain decorator around an async function
                return run(lambda: _aresponse(result, events))
            return _response(result, events)

    return handle


async def _aresponse(result: Any, events: CallEvents) -> Any:
    if inspect.isawaitable(result):
        result = await result
    return await _agenerated(result, events) if inspect.isasyncgen(result) else _response(result, events)


def _response(result: Any, events: CallEvents) -> Any:
    if inspect.isgenerator(result):
        result = _generated(result, events)
    found = _events_in(result)
    events.extend(found)
    return None if found else result


def _generated(generator: GeneratorType[Any, Any, Any], events: CallEvents) -> Any:
    while True:
        try:
            yielded = next(generator)
        except StopIteration as end:
            return end.value
        found = _events_in(yielded)
        if not found and not _is_empty(yielded):
            generator.close()
            raise NotAnEvent(
                f"{generator.__qualname__} yielded a {type(yielded).__name__}: yield events, and return the response"
            )
        events.extend(found)


async def _agenerated(generator: AsyncGeneratorType[Any, Any], events: CallEvents) -> Any:
    response, responded = None, False
    async for yielded in generator:
        if _is_empty(yielded):
            continue
        if responded:
            await generator.aclose()
            raise NotAnEvent(
                f"{generator.__qualname__} yielded a {type(yielded).__name__} after its response: yield events first, "
                "and the response, one value, last"
            )
        found = _events_in(yielded)
        events.extend(found)
        if not found:
            response, responded = yielded, True
    return response


def _is_empty(yielded: Any) -> bool:
    """Whether it is what an entity gives that has recorded nothing."""
    return isinstance(yielded, list | tuple) and not yielded


def _events_in(result: Any) -> list[Event]:
    """What was returned or yielded, if it is an event or a list of them. Raises NotAnEvent for a mixture."""
    if isinstance(result, Event):
        return [result]
    if not isinstance(result, list | tuple):
        return []
    found = [item for item in result if isinstance(item, Event)]
    if found and len(found) < len(result):
        raise NotAnEvent(
            "a request handler returned events mixed with something else: return the response, and append the events "
            "to self.events"
        )
    return found
