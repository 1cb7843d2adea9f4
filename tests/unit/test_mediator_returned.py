"""What a request handler returns or yields: events, which are emitted, or the response."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from events_core import DomainEvent
from events_core.errors import NotAnEvent
from events_core.mediator import Mediator, Request, RequestHandler
from tests.support.mediating import Emitter, mediator_for


class Said(DomainEvent, event_type="mediator_returned.said"):
    what: str


class Say(Request):
    pass


def said(emitter: Emitter) -> list[list[str]]:
    return [[event.what for event in batch if isinstance(event, Said)] for batch in emitter.batches]


def send(mediator: Mediator, request: Any, how: str) -> Any:
    return mediator.send(request) if how == "sync" else asyncio.run(mediator.asend(request))


both = pytest.mark.parametrize("how", ["sync", "async"])


def one(request: Say) -> Any:
    return Said(what="one")


def some(request: Say) -> Any:
    return [Said(what="one"), Said(what="two")]


def a_tuple(request: Say) -> Any:
    return Said(what="one"), Said(what="two")


def generator(request: Say) -> Iterator[Any]:
    yield Said(what="one")
    yield [Said(what="two"), Said(what="three")]
    return "response"


async def async_generator(request: Say) -> AsyncIterator[Any]:
    yield Said(what="one")
    await asyncio.sleep(0)
    yield Said(what="two")
    yield "response"


async def async_list(request: Say) -> Any:
    return some(request)


def handler_of(function: Callable[[Say], Any]) -> type[Any]:
    """A handler class whose handle is that function, async where it is."""
    if asyncio.iscoroutinefunction(function):

        class Async(RequestHandler[Say, Any]):
            async def handle(self, request: Say) -> Any:
                return await function(request)

        return Async

    class Sync(RequestHandler[Say, Any]):
        def handle(self, request: Say) -> Any:
            return function(request)

    return Sync


@both
class TestReturned:
    @pytest.mark.parametrize(
        "function, events, response",
        [
            (one, ["one"], None),
            (some, ["one", "two"], None),
            (a_tuple, ["one", "two"], None),
            (async_list, ["one", "two"], None),
            (generator, ["one", "two", "three"], "response"),
            (async_generator, ["one", "two"], "response"),
        ],
    )
    def test_events(self, function: Any, events: list[str], response: Any, how: str) -> None:
        mediator, emitter = mediator_for(Say, handler_of(function))
        assert send(mediator, Say(), how) == response
        assert said(emitter) == [events]

    @pytest.mark.parametrize("response", [[], ["text"], {"a": 1}, "text", 0, None, (1, 2)])
    def test_a_response(self, response: Any, how: str) -> None:
        """An empty list too: it holds no events."""
        mediator, emitter = mediator_for(Say, handler_of(lambda request: response))
        assert send(mediator, Say(), how) == response
        assert emitter.batches == []

    def test_after_those_that_were_appended(self, how: str) -> None:
        class Both(RequestHandler[Say, None]):
            def handle(self, request: Say) -> Any:
                self.events.append(Said(what="first"))
                yield Said(what="second")
                self.events.append(Said(what="third"))
                return [Said(what="fourth")]

        mediator, emitter = mediator_for(Say, Both)
        assert send(mediator, Say(), how) is None
        assert said(emitter) == [["first", "second", "third", "fourth"]]

    def test_a_mixture_is_refused(self, how: str) -> None:
        mediator, emitter = mediator_for(Say, handler_of(lambda request: [Said(what="one"), "text"]))
        with pytest.raises(NotAnEvent, match="events mixed with something else: return the response, and append"):
            send(mediator, Say(), how)
        assert emitter.batches == []

    def test_a_generator_that_yields_something_else(self, how: str) -> None:
        def handle(request: Say) -> Iterator[Any]:
            yield Said(what="one")
            yield 7

        async def ahandle(request: Say) -> AsyncIterator[Any]:
            yield 7
            yield Said(what="one")

        for function, match in ((handle, "yielded a int: yield events"), (ahandle, "a Said after its response")):
            mediator, emitter = mediator_for(Say, handler_of(function))
            with pytest.raises(NotAnEvent, match=match):
                send(mediator, Say(), how)
            assert emitter.batches == []

    def test_a_generator_that_fails(self, how: str) -> None:
        def handle(request: Say) -> Iterator[Any]:
            yield Said(what="one")
            raise KeyError

        mediator, emitter = mediator_for(Say, handler_of(handle))
        with pytest.raises(KeyError):
            send(mediator, Say(), how)
        assert emitter.batches == []
