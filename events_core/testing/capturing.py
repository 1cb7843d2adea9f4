"""capture: what a system emits is kept, and not sent. Everything before that is the real thing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from events_core.emitter import Emission
from events_core.events import Event
from events_core.groups import Group
from events_core.in_transaction import Joined
from events_core.publishing.messages import Carried, Delivery, Message
from events_core.scope import HandlingScope
from events_core.system import EventSystem
from events_core.testing.captured import CapturedEvents
from events_core.testing.group_book import CapturedTurns, GroupBook
from events_core.testing.recorder import Recorder, Unheard


@contextmanager
def capture(system: EventSystem) -> Iterator[CapturedEvents]:
    """In the block, what `system` emits is kept and not sent, wherever it is emitted; afterwards it is sent as before.

    No broker, Redis or worker is needed, nor EVENTS_BROKER_URL set. Everything else is real: encoding, size limits,
    routing, `BrokerNotConfigured`, `hold()`, in-transaction handlers. Of nested blocks of one system the innermost
    captures. Several systems can be captured at once::

        with capture(shop) as shop_events, capture(billing) as billing_events:
            ...

    Raises HandlersNotLoaded where one of the system's modules cannot be imported.
    """
    system.load()
    recorder, book = Recorder(), GroupBook()
    turns = CapturedTurns(book, recorder.take)
    emitter = system.emitter
    broker = system.message_broker

    async def hand_over_soon(messages: Sequence[Carried]) -> None:
        recorder.take(messages)

    def hand_over(messages: Sequence[Carried], timeout: float) -> None:
        recorder.take(messages)

    with ExitStack() as stack:
        # At the emitter, not at the brokers' ends, which are two: so that the order is that of emission.
        stack.enter_context(_replaced(emitter, "hand_over", hand_over))
        stack.enter_context(_replaced(emitter, "_hand_over_soon", hand_over_soon))
        stack.enter_context(_replaced(emitter, "_turns", lambda: turns))
        stack.enter_context(_replaced(emitter, "_add", _adding(emitter._add, recorder)))
        stack.enter_context(_replaced(emitter, "messages_of", _making(emitter.messages_of, recorder)))
        stack.enter_context(_replaced(system, "check_broker", lambda: None))  # there need be none
        stack.enter_context(_replaced(system, "group", lambda group_id: Group(group_id, lambda: turns)))
        if broker is not None:  # by which a bus sends, beside the emitter
            stack.enter_context(_replaced(broker, "publish", hand_over))
        yield CapturedEvents(system, recorder, book)


def _adding(
    add: Callable[[Joined, Iterable[Event]], list[Emission]], recorder: Recorder
) -> Callable[[Joined, Iterable[Event]], list[Emission]]:
    """As the emitter's own, and each event goes the whole way: also one that nobody hears."""

    def adding(joined: Joined, events: Iterable[Event]) -> list[Emission]:
        events = list(events)
        start = len(joined.messages)
        emissions = add(joined, events)
        made, joined.messages[start:] = joined.messages[start:], []
        for event, emission in zip(events, emissions, strict=True):
            own = _own(made, event, emission) or [_unheard(event)]
            for message in own:
                recorder.remember(message.delivery, event)
            joined.messages.extend(own)
        return emissions

    return adding


def _making(make: Callable[..., list[Message]], recorder: Recorder) -> Callable[..., list[Message]]:
    """As the emitter's own, which groups ask for their members; one that nobody hears goes the whole way, too."""

    def making(event: Event, scope: HandlingScope | None, group: str | None = None) -> list[Message]:
        made = make(event, scope, group)
        if group is not None:
            made = made or [_unheard(event)]
            for message in made:
                recorder.remember(message.delivery, event)
        return made

    return making


def _own(made: list[Carried], event: Event, emission: Emission) -> list[Carried]:
    """The first of the messages, which are this event's; they are taken away."""
    number = len(emission.deliveries)
    if not number and made and made[0].delivery[:2] == ("", str(event.event_id)):
        number = 1  # an integration event has one message, and no delivery here
    own = made[:number]
    del made[:number]
    return own


def _unheard(event: Event) -> Unheard:
    delivery = Delivery("", str(event.event_id), "")
    return Unheard(delivery, {"task": event.event_type, "id": delivery.task_id}, b"[[],{},{}]")


_ABSENT = object()
#: What stands in each attribute that is replaced, the original first.
_layers: dict[tuple[int, str], list[Any]] = {}


@contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """In the block, the attribute of this one object is `value`."""
    own = vars(owner)
    layers = _layers.setdefault((id(owner), name), [own.get(name, _ABSENT)])
    layers.append(value)
    own[name] = value
    try:
        yield
    finally:
        layers.remove(value)  # others may end after this one
        if layers[-1] is _ABSENT:
            own.pop(name, None)
        else:
            own[name] = layers[-1]
        if len(layers) == 1:
            del _layers[id(owner), name]
