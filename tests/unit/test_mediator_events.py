"""What a mediator emits: the events of this call and of no other, and nothing of a handler that fails."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import Any

import pytest

from events_core import DomainEvent, EmitError, Event, EventSystem
from events_core.entities import Entity, pending_events
from events_core.errors import EmitMisused
from events_core.mediator import HandlerInUse, Mediator, Request, RequestHandler, RequestMap
from events_core.processor import EventProcessor
from tests.support.mediating import Always, Emitter, mediator_for


class Said(DomainEvent, event_type="mediator_events.said"):
    what: str


class Say(Request):
    what: str = "something"


def said(emitter: Emitter) -> list[list[str]]:
    return [[event.what for event in batch if isinstance(event, Said)] for batch in emitter.batches]


def send(mediator: Mediator, request: Any, how: str) -> Any:
    return mediator.send(request) if how == "sync" else asyncio.run(mediator.asend(request))


both = pytest.mark.parametrize("how", ["sync", "async"])


class Meeting:
    """Two requests that are handled at the same time: each waits for the other."""

    def __init__(self) -> None:
        self.both = threading.Barrier(2, timeout=30)


class Shared(RequestHandler[Say, str]):
    """One instance for all requests, with the list of the base class."""

    def __init__(self, meeting: Meeting) -> None:
        self.meeting = meeting

    def handle(self, request: Say) -> str:
        self.events.append(Said(what=f"{request.what} 1"))
        self.meeting.both.wait()
        self.events.append(Said(what=f"{request.what} 2"))
        return request.what


class SharedAsync(Shared):
    async def handle(self, request: Say) -> str:  # type: ignore[override]
        self.events.append(Said(what=f"{request.what} 1"))
        await asyncio.to_thread(self.meeting.both.wait)
        self.events.append(Said(what=f"{request.what} 2"))
        return request.what


class Diator(RequestHandler[Say, None]):
    """As seeds 000 and 004 have it: a list of its own behind the property."""

    def __init__(self) -> None:
        self._events: list[Event] = []

    @property
    def events(self) -> list[Event]:
        return self._events

    def handle(self, request: Say) -> None:
        self._events.append(Said(what=request.what))
        if request.what == "fail":
            raise KeyError(request.what)


class TestSharedInstances:
    """Hole 4: `handler.events` of a reused handler emitted another request's events again."""

    @pytest.mark.parametrize("handler", [Shared, SharedAsync])
    def test_at_once(self, handler: type[Shared]) -> None:
        mediator, emitter = mediator_for(Say, handler, container=Always(handler(Meeting())))

        async def main() -> None:
            await asyncio.gather(mediator.send(Say(what="a")), mediator.send(Say(what="b")))

        asyncio.run(main())
        assert sorted(said(emitter)) == [["a 1", "a 2"], ["b 1", "b 2"]]

    @both
    def test_one_after_another_with_a_list_of_its_own(self, how: str) -> None:
        """What this call added is taken, and is out of the list once it is safe."""
        handler = Diator()
        earlier = Said(what="earlier")
        handler._events.append(earlier)
        mediator, emitter = mediator_for(Say, Diator, container=Always(handler))
        for what in ("first", "second"):
            send(mediator, Say(what=what), how)
        assert said(emitter) == [["first"], ["second"]]
        assert handler._events == [earlier]

    def test_at_once_with_a_list_of_its_own(self) -> None:
        """Nobody could tell whose an event is: the second one is told what to do."""
        entered, leave = threading.Event(), threading.Event()

        class Slow(Diator):
            def handle(self, request: Say) -> None:
                super().handle(request)
                entered.set()
                assert leave.wait(30)

        mediator, emitter = mediator_for(Say, Slow, container=Always(Slow()))
        thread = threading.Thread(target=mediator.send, args=(Say(what="first"),))
        thread.start()
        try:
            assert entered.wait(30)
            with pytest.raises(HandlerInUse, match=r"one instance of .*Slow was given two requests at once.*container"):
                mediator.send(Say(what="second"))
        finally:
            leave.set()
            thread.join(30)
        mediator.send(Say(what="third"))
        assert said(emitter) == [["first"], ["third"]]

    @both
    def test_emitting_fails(self, how: str) -> None:
        """The handler's own list keeps what could not be emitted, and no later call emits it as its own."""
        handler = Diator()
        mediator, emitter = mediator_for(Say, Diator, container=Always(handler))
        emitter.failing = True
        with pytest.raises(EmitError):
            send(mediator, Say(what="first"), how)
        assert [event.what for event in handler._events] == ["first"]  # type: ignore[attr-defined]
        emitter.failing = False
        send(mediator, Say(what="second"), how)
        assert said(emitter) == [["second"]]

    @both
    def test_the_handler_fails(self, how: str) -> None:
        handler = Diator()
        mediator, emitter = mediator_for(Say, Diator, container=Always(handler))
        with pytest.raises(KeyError):
            send(mediator, Say(what="fail"), how)
        send(mediator, Say(what="after"), how)
        assert said(emitter) == [["after"]]
        assert handler._events == []

    def test_a_handler_that_makes_itself_a_new_list(self) -> None:
        class Renewing(Diator):
            def handle(self, request: Say) -> None:
                self._events = [*self._events, Said(what=request.what)]

        mediator, emitter = mediator_for(Say, Renewing, container=Always(Renewing()))
        for what in ("first", "second"):
            mediator.send(Say(what=what))
        assert said(emitter) == [["first"], ["second"]]

    def test_a_list_that_cannot_be_changed(self) -> None:
        class Copying(Diator):
            @property
            def events(self) -> Any:
                return tuple(self._events)

        mediator, emitter = mediator_for(Say, Copying, container=Always(Copying()))
        for what in ("first", "second"):
            mediator.send(Say(what=what))
        assert said(emitter) == [["first"], ["second"]]

    def test_two_instances_that_share_a_list(self) -> None:
        """A class attribute: seldom meant, and easily written."""
        nested: list[Any] = []

        class OfTheClass(RequestHandler[Say, None]):
            events: list[Event] = []  # type: ignore[misc]

            def handle(self, request: Say) -> None:
                self.events.append(Said(what=request.what))
                if request.what == "outer":
                    with pytest.raises(HandlerInUse):
                        nested[0].send(Say(what="inner"))

        mediator, emitter = mediator_for(Say, OfTheClass)
        nested.append(mediator)
        for what in ("outer", "after"):
            mediator.send(Say(what=what))
        assert said(emitter) == [["outer"], ["after"]]


class Unlucky(Diator):
    """Fails at first; with a list of its own."""

    attempts = 0

    def handle(self, request: Say) -> None:
        self.events.append(Said(what=request.what))
        Unlucky.attempts += 1
        if Unlucky.attempts % 2:
            raise KeyError


class UnluckyAsync(RequestHandler[Say, None]):
    async def handle(self, request: Say) -> None:
        self.events.append(Said(what=request.what))
        Unlucky.attempts += 1
        if Unlucky.attempts % 2:
            raise KeyError


@both
@pytest.mark.parametrize("handler", [Unlucky, UnluckyAsync])
class TestMiddlewareThatGoesOnAfterAFailure:
    """What the failed attempt had collected is not emitted."""

    def test_it_tries_again(self, handler: type[Any], how: str) -> None:
        async def twice(request: Any, handle: Any) -> Any:
            try:
                return await handle(request)
            except KeyError:
                return await handle(request)

        mediator, emitter = mediator_for(Say, handler, container=Always(handler()), middleware=[twice])
        send(mediator, Say(what="once"), how)
        assert said(emitter) == [["once"]]

    def test_it_answers_itself(self, handler: type[Any], how: str) -> None:
        async def instead(request: Any, handle: Any) -> Any:
            try:
                return await handle(request)
            except KeyError:
                return "sorry"

        mediator, emitter = mediator_for(Say, handler, middleware=[instead])
        assert send(mediator, Say(), how) == "sorry"
        assert emitter.batches == []
        Unlucky.attempts = 0


class InConstructor(RequestHandler[Say, None]):
    def __init__(self) -> None:
        self.events.append(Said(what="made"))

    def handle(self, request: Say) -> None:
        self.events += [Said(what=request.what)]
        if request.what == "anew":
            self.events = [Said(what="anew")]


class InHelper(RequestHandler[Say, None]):
    def handle(self, request: Say) -> None:
        helper = Shared(Meeting())
        helper.events.append(Said(what="by a helper"))
        self.events.insert(0, Said(what="before"))


class TestWhereEventsAreCollected:
    def test_in_the_constructor(self) -> None:
        mediator, emitter = mediator_for(Say, InConstructor)
        for what in ("added", "anew"):
            mediator.send(Say(what=what))
        assert said(emitter) == [["made", "added"], ["anew"]]

    def test_in_a_handler_that_it_uses(self) -> None:
        mediator, emitter = mediator_for(Say, InHelper)
        mediator.send(Say())
        assert said(emitter) == [["before", "by a helper"]]

    def test_a_request_within_a_request(self) -> None:
        """The inner one's events leave when it has succeeded; those of the outer one follow."""

        class Outer(Request):
            pass

        class Nesting(RequestHandler[Outer, None]):
            def handle(self, request: Outer) -> None:
                self.events.append(Said(what="outer 1"))
                inner.send(Say(what="inner"))
                self.events.append(Said(what="outer 2"))

        inner, emitter = mediator_for(Say, Diator)
        mediator, outer_emitter = mediator_for(Outer, Nesting)
        mediator.send(Outer())
        assert said(emitter) == [["inner"]]
        assert said(outer_emitter) == [["outer 1", "outer 2"]]

    def test_a_handler_that_a_test_calls_itself(self) -> None:
        handler = InHelper()
        handler.handle(Say())
        assert [event.what for event in handler.events] == ["before"]  # type: ignore[attr-defined]
        assert InHelper().events == []

    def test_what_outlives_the_request_is_told_that_its_events_would_be_lost(self) -> None:
        errors: list[BaseException] = []
        tasks: list[asyncio.Task[None]] = []
        go = asyncio.Event()

        class Late(RequestHandler[Say, None]):
            async def handle(self, request: Say) -> None:
                tasks.append(asyncio.create_task(self.later()))
                bare = threading.Thread(target=self.add)  # carries no context
                bare.start()
                bare.join(30)

            async def later(self) -> None:
                await go.wait()
                self.add()

            def add(self) -> None:
                try:
                    self.events.append(Said(what="late"))
                except EmitMisused as error:
                    errors.append(error)

        mediator, emitter = mediator_for(Say, Late)

        async def main() -> None:
            await mediator.send(Say())
            go.set()
            await tasks[0]

        asyncio.run(main())
        assert ["this event would be lost" in str(error) for error in errors] == [True, True]
        assert emitter.batches == []


@dataclass
class Room(Entity):
    name: str = "room"


@both
class TestEntities:
    """What a handler has collected from an entity is the entity's again where it was not emitted."""

    def test_the_handler_fails_or_emitting_does(self, how: str) -> None:
        room = Room()
        event = Said(what="entered")
        room.add_event(event)

        class Entering(RequestHandler[Say, None]):
            def handle(self, request: Say) -> None:
                self.events.extend(room.collect_events())
                if request.what == "fail":
                    raise KeyError

        mediator, emitter = mediator_for(Say, Entering)
        with pytest.raises(KeyError):
            send(mediator, Say(what="fail"), how)
        assert pending_events(room) == (event,)
        emitter.failing = True
        with pytest.raises(EmitError):
            send(mediator, Say(), how)
        assert pending_events(room) == (event,)
        emitter.failing = False
        send(mediator, Say(), how)
        assert pending_events(room) == ()
        assert said(emitter) == [["entered"]]

    def test_what_holds_the_events_back_fails(self, how: str) -> None:
        """The request has succeeded, and is part of something that has not."""
        room = Room()
        event = Said(what="entered")
        room.add_event(event)

        class Entering(RequestHandler[Say, None]):
            def handle(self, request: Say) -> None:
                self.events.extend(room.collect_events())

        requests = RequestMap()
        requests.bind(Say, Entering)
        events = EventSystem("mediator-held", broker_url="redis://localhost:1/0")
        events.bind(Said, lambda event: None, name="heard")
        mediator = Mediator(requests, events)

        def request_that_fails() -> None:
            with events.hold():
                send(mediator, Say(), how)
                assert pending_events(room) == ()
                raise KeyError

        with pytest.raises(KeyError):
            request_that_fails()
        assert pending_events(room) == (event,)


class Empty(RequestHandler[Say, str]):
    events = ()  # type: ignore[assignment]

    def handle(self, request: Say) -> str:
        return "outer"


class EmptyAround(RequestHandler[Request, Any]):
    events = ()  # type: ignore[assignment]
    mediator: Mediator

    def handle(self, request: Request) -> Any:
        return self.mediator.send(Say())


class Around(Request):
    pass


def test_handlers_with_no_events_at_all_are_not_taken_for_one_another() -> None:
    """The empty tuple is one object, whoever has it."""
    request_map = RequestMap()
    request_map.bind(Say, Empty)
    request_map.bind(Around, EmptyAround)
    EmptyAround.mediator = Mediator(request_map, event_emitter=Emitter())
    assert EmptyAround.mediator.send(Around()) == "outer"


def test_a_processor_that_could_not_emit_refuses_before_the_handler_runs() -> None:
    """Its groups cannot wait for the end of a block, and what the handler does cannot be undone."""
    events = EventSystem("mediator-held", broker_url="redis://127.0.0.1:1/0")
    ran: list[Any] = []

    class Handler(RequestHandler[Say, None]):
        def handle(self, request: Say) -> None:
            ran.append(request)

    request_map = RequestMap()
    request_map.bind(Say, Handler)
    mediator = Mediator(request_map, event_emitter=events, event_processor=EventProcessor(events))
    with pytest.raises(EmitMisused, match="without event_processor="), events.hold():
        mediator.send(Say())
    assert ran == []
