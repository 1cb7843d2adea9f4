"""EventProcessor: which group it makes of which options, and what goes to the message broker. No server is needed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from events_core import DomainEvent, EmitError, Event, EventMap, Group, NotificationEvent
from events_core.emitter import DeliveryEmitter
from events_core.entities import Entity, not_emitted, pending_events
from events_core.errors import ConfigurationError, NotAnEvent
from events_core.processor import EventProcessor
from events_core.publishing.messages import MessageBuilder


class Joined(DomainEvent, event_type="processor.joined"):
    number: int


class Told(NotificationEvent, event_type="processor.told"):
    number: int


class Meeting(Entity):
    pass


class Recorder:
    """Takes groups and integration events, and keeps what it was asked for. failing: the broker, or the group."""

    def __init__(self, failing: str = "") -> None:
        self.groups: list[tuple[list[Event], int]] = []
        self.told: list[Event] = []
        self.failing = failing

    def emit_many(self, events: Iterable[Event]) -> None:
        assert not self.groups
        if self.failing == "broker":
            raise EmitError("the message broker is down")
        self.told += events

    async def aemit_many(self, events: Iterable[Event]) -> None:
        self.emit_many(events)

    def emit_group(self, events: Iterable[Event], *, max_parallel: int) -> Group:
        if self.failing == "group":
            raise EmitError("the coordination Redis did not answer")
        self.groups.append((list(events), max_parallel))
        return Group(str(len(self.groups)), lambda: None)  # type: ignore[arg-type, return-value]

    async def aemit_group(self, events: Iterable[Event], *, max_parallel: int) -> Group:
        return self.emit_group(events, max_parallel=max_parallel)


EVENTS = [Joined(number=number) for number in range(3)]


@pytest.mark.parametrize(
    "options, places",
    [
        ({}, 10),
        ({"max_concurrent_event_handlers": 4}, 4),
        ({"max_concurrent_event_handlers": 4, "concurrent_event_handle_enable": True}, 4),
        ({"max_concurrent_event_handlers": 4, "concurrent_event_handle_enable": False}, 1),
        ({"concurrent_event_handle_enable": False}, 1),
    ],
)
def test_its_options_say_how_many_run_at_once(options: dict[str, Any], places: int) -> None:
    recorder = Recorder()
    processor = EventProcessor(recorder, **options)
    assert processor.emit_events(EVENTS).id == "1"
    assert asyncio.run(processor.aemit_events(iter(EVENTS))).id == "2"
    assert recorder.groups == [(EVENTS, places)] * 2


@pytest.mark.parametrize("number", [0, -3, 2.5, "many", True])
def test_a_number_that_cannot_work(number: Any) -> None:
    with pytest.raises(ValueError, match=r"max_concurrent_event_handlers=.* must be a whole number from 1 on"):
        EventProcessor(Recorder(), max_concurrent_event_handlers=number)


def test_an_emitter_of_its_own() -> None:
    """An DeliveryEmitter is taken as well; it has to know the Redis where groups wait."""
    event_map = EventMap()
    event_map.bind(Joined, lambda event: None, name="joined")
    emitter = DeliveryEmitter(event_map, lambda: None, MessageBuilder("q"), timeout=1, max_event_bytes=1000)  # type: ignore[arg-type, return-value]
    with pytest.raises(ConfigurationError, match="give it turns="):
        EventProcessor(emitter).emit_events(EVENTS)


def emit(processor: EventProcessor, how: str, events: Any) -> Group:
    return processor.emit_events(events) if how == "sync" else asyncio.run(processor.aemit_events(events))


@pytest.mark.parametrize("how", ["sync", "async"])
class TestIntegrationEvents:
    """As the flow of python-cqrs has them: in one list with domain events."""

    def test_each_kind_goes_its_way_in_its_order(self, how: str) -> None:
        recorder = Recorder()
        told = [Told(number=number) for number in range(2)]
        group = emit(EventProcessor(recorder), how, iter([EVENTS[0], told[0], EVENTS[1], told[1]]))
        assert group.id == "1"
        assert recorder.groups == [(EVENTS[:2], 10)]
        assert recorder.told == told

    def test_they_alone_are_a_group_that_is_finished(self, how: str) -> None:
        """No Redis is asked, which an application that only tells others may not have."""
        recorder = Recorder()
        group = emit(EventProcessor(recorder), how, [Told(number=1)])
        assert recorder.groups == []
        for progress in (group.wait(), asyncio.run(group.finished(0))):
            assert (progress.state, progress.total, progress.finished) == ("completed", 0, True)
        group.cancel()

    def test_where_they_fail_no_group_is_emitted(self, how: str) -> None:
        recorder = Recorder(failing="broker")
        with pytest.raises(EmitError, match="message broker is down"):
            emit(EventProcessor(recorder), how, [*EVENTS, Told(number=1)])
        assert recorder.groups == []

    def test_where_the_group_fails_they_are_confirmed(self, how: str) -> None:
        recorder = Recorder(failing="group")
        with pytest.raises(EmitError, match="Redis did not answer"):
            emit(EventProcessor(recorder), how, [*EVENTS, Told(number=1)])
        assert len(recorder.told) == 1

    @pytest.mark.parametrize(
        "events, said",
        [([Told(number=1), "news"], "a str is no event"), (EVENTS[0], r"not one Joined: \[event\]")],
    )
    def test_what_is_no_event_is_told_before_anything_is_sent(self, how: str, events: Any, said: str) -> None:
        recorder = Recorder()
        with pytest.raises(NotAnEvent, match=said):
            emit(EventProcessor(recorder), how, events)
        assert (recorder.told, recorder.groups) == ([], [])

    def test_an_entity_has_them_again_where_the_group_fails(self, how: str) -> None:
        meeting = Meeting()
        for event in EVENTS:
            meeting.add_event(event)
        with pytest.raises(EmitError):
            emit(EventProcessor(Recorder(failing="group")), how, meeting.collect_events())
        assert pending_events(meeting) == tuple(EVENTS)
        collected = meeting.collect_events()
        emit(EventProcessor(Recorder()), how, collected)
        not_emitted(collected)
        assert pending_events(meeting) == ()
