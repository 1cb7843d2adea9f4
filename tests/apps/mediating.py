"""Commands whose events are handled by a worker."""

from __future__ import annotations

import os

from events_core import DomainEvent, EventSystem, NotificationEvent
from events_core.entities import Entity
from events_core.mediator import Mediator, Request, RequestHandler, RequestMap
from events_core.processor import EventProcessor
from tests.apps.recording import record, wait_for_gate

events = EventSystem(os.environ.get("TEST_SYSTEM", "unset"))


class Reserved(DomainEvent, event_type="mediating.reserved"):
    tag: str
    seat: int


class Closed(DomainEvent, event_type="mediating.closed"):
    tag: str


class Told(NotificationEvent, event_type="mediating.told", topic="halls"):
    number: int


class Reserve(Request):
    tag: str
    seats: list[int]
    tell: bool = False


class Hall(Entity):
    """An aggregate whose events a command collects."""

    def __init__(self, tag: str) -> None:
        self.tag = tag

    def reserve(self, seat: int) -> None:
        if seat < 0:
            raise ValueError(f"no seat {seat}")
        self.add_event(Reserved(tag=self.tag, seat=seat))


class ReserveHandler(RequestHandler[Reserve, int]):
    async def handle(self, request: Reserve) -> int:
        hall = Hall(request.tag)
        self.events.append(Reserved(tag=request.tag, seat=0))
        if request.tell:
            self.events.append(Told(number=1))
        for seat in request.seats:
            hall.reserve(seat)
        self.events.extend(hall.collect_events())
        self.events.append(Closed(tag=request.tag))
        if request.tell:
            self.events.append(Told(number=2))
        return len(request.seats)


@events.handler(Reserved)
def tell(event: Reserved) -> None:
    wait_for_gate(event.tag)
    record(event.tag, "reserved", seat=event.seat)


@events.handler(Closed)
async def close(event: Closed) -> None:
    record(event.tag, "closed")


def mediator_of(system: EventSystem) -> Mediator:
    """Its deliveries begin one after another."""
    requests = RequestMap()
    requests.bind(Reserve, ReserveHandler)
    processor = EventProcessor(system, concurrent_event_handle_enable=False)
    return Mediator(requests, event_emitter=system, event_processor=processor)
