"""EventProcessor: which group it makes of which options. No server is needed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from events_core import DomainEvent, Event, EventMap, Group
from events_core.emitter import EventEmitter
from events_core.errors import ConfigurationError
from events_core.processor import EventProcessor
from events_core.publishing.messages import MessageBuilder


class Joined(DomainEvent, event_type="processor.joined"):
    number: int


class Recorder:
    """Takes groups, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.groups: list[tuple[list[Event], int]] = []

    def emit_group(self, events: Iterable[Event], *, max_parallel: int) -> Group:
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
    """An EventEmitter is taken as well; it has to know the Redis where groups wait."""
    event_map = EventMap()
    event_map.bind(Joined, lambda event: None, name="joined")
    emitter = EventEmitter(event_map, lambda: None, MessageBuilder("q"), timeout=1, max_event_bytes=1000)  # type: ignore[arg-type, return-value]
    with pytest.raises(ConfigurationError, match="give it turns="):
        EventProcessor(emitter).emit_events(EVENTS)
