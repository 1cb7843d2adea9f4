"""emit with a message broker: integration events beside domain events, in one call. No server is needed."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from celery import signals

from events_core import (
    BindError,
    ConfigurationError,
    DomainEvent,
    ECSTEvent,
    EmitError,
    EventMap,
    EventSystem,
    IntegrationEvent,
    NotificationEvent,
)
from events_core.brokers import InMemoryBroker, IntegrationMessage
from events_core.emitter import DeliveryEmitter
from events_core.envelope import Envelope
from events_core.errors import BrokerNotConfigured, EventDefinitionError, EventTooLarge
from events_core.ids import DerivedIds
from events_core.publishing.base import CHUNK
from events_core.publishing.messages import Delivery, Message, MessageBuilder
from events_core.scope import HandlingScope, handling

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Placed(DomainEvent, event_type="both.placed"):
    number: int = 0


class Told(NotificationEvent, event_type="both.told", topic="orders"):
    number: int = 0
    text: str = ""


class Untold(NotificationEvent, event_type="both.untold"):
    pass


class Elsewhere(NotificationEvent, event_type="both.elsewhere", topic="wrong"):
    pass


class Failing(InMemoryBroker):
    """Takes so many messages, and fails then. refuses: a topic, with all of a call that has an event for it."""

    takes: int = 1_000_000
    fault: Exception | None = None
    refuses: str = ""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.answers = threading.Event(), threading.Event()
        self.answers.set()

    def publish(self, messages: Sequence[IntegrationMessage], timeout: float) -> None:
        self.asked.set()
        assert self.answers.wait(30)
        if self.fault is not None:
            raise self.fault
        if self.refuses in {message.topic for message in messages}:
            raise EmitError("no such exchange", unsent=[message.delivery for message in messages])
        taken, left = messages[: self.takes], messages[self.takes :]
        super().publish(taken, timeout)
        self.takes -= len(taken)
        if left:
            raise EmitError(
                "the message broker is down",
                confirmed=[message.delivery for message in taken],
                unsent=[message.delivery for message in left],
            )


class Celery:
    """A publisher that keeps what it is given, or fails."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.down = False

    def publish(self, messages: Sequence[Message], timeout: float) -> None:
        if self.down:
            raise EmitError("Celery's broker is down", uncertain=[message.delivery for message in messages])
        self.messages.extend(messages)

    def close(self) -> None: ...


class Emitting:
    """An emitter of one handler, with both brokers."""

    def __init__(self, **options: Any) -> None:
        self.celery, self.broker = Celery(), Failing()
        event_map = EventMap()
        event_map.bind(Placed, lambda event: None, name="h")
        self.emitter = DeliveryEmitter(
            event_map,
            lambda: self.celery,
            MessageBuilder("q"),
            timeout=1.0,
            max_event_bytes=10_000,
            message_broker=self.broker,
            **options,
        )

    def emit(self, events: Sequence[Any]) -> None:
        self.emitter.emit_many(events)

    def aemit(self, events: Sequence[Any]) -> None:
        asyncio.run(self.emitter.aemit_many(events))  # type: ignore[arg-type]

    @property
    def told(self) -> list[int]:
        return [json.loads(message.envelope.data)["number"] for message in self.broker.published]

    @property
    def placed(self) -> list[int]:
        return [json.loads(message.body)[0][0]["data"]["number"] for message in self.celery.messages]


def mixed(count: int = 3) -> Iterator[Placed | Told]:
    for number in range(count):
        yield Placed(number=number)
        yield Told(number=number)


@contextmanager
def handled(**options: Any) -> Iterator[HandlingScope]:
    """Within a handler."""
    cause = Placed()
    scope = HandlingScope("delivery", "root", Envelope.of(cause), "both.placed", **options)
    with handling(scope, DerivedIds("delivery", cause.event_id, cause.occurred_at)):
        yield scope


class TestBothWays:
    @pytest.mark.parametrize("is_async", [False, True])
    def test_in_one_call(self, is_async: bool) -> None:
        """Each goes its way, and keeps its order there; an integration event has no deliveries."""
        emitting, events = Emitting(), [*mixed()]
        emissions = asyncio.run(emitting.emitter.aemit_many(events)) if is_async else emitting.emitter.emit_many(events)
        assert (emitting.placed, emitting.told) == ([0, 1, 2], [0, 1, 2])
        assert [emission.event_id for emission in emissions] == [event.event_id for event in events]
        assert [len(emission.deliveries) for emission in emissions] == [1, 0, 1, 0, 1, 0]

    def test_more_than_a_chunk(self) -> None:
        """The broker gets at most 1,000 at once, in order."""
        emitting = Emitting()
        emitting.broker.takes = CHUNK + 10
        with pytest.raises(EmitError) as caught:
            emitting.emitter.emit_many([Told(number=number) for number in range(CHUNK + 20)])
        assert emitting.told == [*range(CHUNK + 10)]
        assert (len(caught.value.confirmed), len(caught.value.unsent)) == (CHUNK + 10, 10)

    def test_the_topic(self) -> None:
        """That of the class; else the emitter's, which in a system is its name."""
        emitting = Emitting(topic="mine")
        emitting.emitter.emit_many([Told(), Untold()])
        assert [message.topic for message in emitting.broker.published] == ["orders", "mine"]
        broker = InMemoryBroker()
        EventSystem("shop", broker_url="redis://localhost:1", message_broker=broker).emit(Untold())
        (message,) = broker.published
        assert (message.topic, message.routing_key) == ("shop", "notification_event.both.untold")
        assert b'"/shop"' in message.body

    def test_celery_signals_are_for_celery_messages(self) -> None:
        """Sentry and others take what they are told of for tasks."""
        heard: list[Any] = []

        def hear(sender: Any = None, **_: Any) -> None:
            heard.append(sender)

        signals.before_task_publish.connect(hear)
        signals.after_task_publish.connect(hear)
        try:
            Emitting().emitter.emit_many([*mixed(1)])
            asyncio.run(Emitting().emitter.aemit_many([*mixed(1)]))
        finally:
            signals.before_task_publish.disconnect(hear)
            signals.after_task_publish.disconnect(hear)
        assert heard == ["h"] * 4


class TestErrors:
    def test_each_way_fails_by_itself(self) -> None:
        """The other one has taken its share; the error speaks of all, an integration event by its id and topic."""
        emitting, events = Emitting(), [*mixed(2)]
        emitting.celery.down = True
        with pytest.raises(EmitError, match="Celery's broker is down") as caught:
            emitting.emitter.emit_many(events)
        assert caught.value.confirmed == [Delivery("", str(event.event_id), "orders") for event in events[1::2]]
        assert [delivery.handler for delivery in caught.value.uncertain] == ["h", "h"]
        emitting = Emitting()
        emitting.broker.takes = 1
        with pytest.raises(EmitError, match="the message broker is down") as caught:
            emitting.emitter.emit_many(events)
        assert [delivery.handler for delivery in caught.value.confirmed] == ["h", "", "h"]
        assert caught.value.unsent == [Delivery("", str(events[3].event_id), "orders")]

    def test_concurrent_aemits_each_learn_their_own_share(self) -> None:
        """They share a batch; who has only Celery messages in it does not hear of the message broker."""
        emitting = Emitting()
        emitting.broker.takes = 0

        async def both() -> tuple[object, object]:
            one = emitting.emitter.aemit_many([Placed()])
            two = emitting.emitter.aemit_many([Told()])
            return await asyncio.gather(one, two, return_exceptions=True)

        one, two = asyncio.run(both())
        assert not isinstance(one, EmitError)
        assert isinstance(two, EmitError)
        assert len(two.unsent) == 1

    def test_a_fault_of_the_message_broker_hides_nothing_of_what_was_confirmed(self) -> None:
        """It is set up wrongly: raised as it is, the error would not tell that the handlers have their deliveries."""
        for emit in (Emitting.emit, Emitting.aemit):
            emitting, events = Emitting(), [*mixed(1)]
            emitting.broker.fault = ConfigurationError("alternate_exchange= is RabbitMQ's")
            with pytest.raises(EmitError, match="alternate_exchange") as caught:
                emit(emitting, events)
            assert [delivery.handler for delivery in caught.value.confirmed] == ["h"]
            assert caught.value.unsent == [Delivery("", str(events[1].event_id), "orders")]

    def test_a_message_broker_that_does_not_answer_keeps_no_domain_event_waiting(self) -> None:
        """aemit: each way has a thread of its own."""
        emitting = Emitting()
        emitting.broker.answers.clear()

        async def both() -> None:
            told = asyncio.ensure_future(emitting.emitter.aemit_many([Told()]))
            await asyncio.to_thread(emitting.broker.asked.wait)
            await emitting.emitter.aemit_many([Placed()])
            assert not told.done()
            emitting.broker.answers.set()
            await told

        asyncio.run(both())

    def test_cancelling_withdraws_nothing(self) -> None:
        """As soon as aemit has been called, of whichever way."""
        emitting = Emitting()

        async def cancelled() -> None:
            task = asyncio.ensure_future(emitting.emitter.aemit_many([*mixed(2)]))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(cancelled())
        emitting.emitter.close()
        assert (emitting.placed, emitting.told) == ([0, 1], [0, 1])

    def test_one_topic_that_cannot_be_had_is_not_the_fault_of_others_who_emit_at_once(self) -> None:
        """They share a batch of which nothing was sent: then each goes by itself."""
        emitting = Emitting()
        emitting.broker.refuses = "wrong"

        async def together() -> list[object]:
            emitting.broker.answers.clear()
            first = asyncio.ensure_future(emitting.emitter.aemit_many([Told()]))
            await asyncio.to_thread(
                emitting.broker.asked.wait
            )  # what is asked for from now on waits, and goes together
            asyncio.get_running_loop().call_later(0, emitting.broker.answers.set)
            others = [first, *(emitting.emitter.aemit_many([Told(number=number)]) for number in range(1, 4))]
            return await asyncio.gather(emitting.emitter.aemit_many([Elsewhere()]), *others, return_exceptions=True)

        refused, *others = asyncio.run(together())
        assert isinstance(refused, EmitError)
        assert not [other for other in others if isinstance(other, BaseException)]
        assert sorted(emitting.told) == [0, 1, 2, 3]

    def test_too_large(self) -> None:
        """MAX_EVENT_BYTES, of the message as it is sent; nothing of the call is."""
        emitting = Emitting()
        with pytest.raises(EventTooLarge, match=r"both.told .* more than MAX_EVENT_BYTES"):
            emitting.emitter.emit_many([Placed(), Told(text="x" * 10_000)])
        assert (emitting.placed, emitting.told) == ([], [])

    def test_not_in_a_group(self) -> None:
        """It has no deliveries that a group could wait for; without a broker that is told as ever."""
        with pytest.raises(BindError, match="Told is an integration event: it has no deliveries here"):
            Emitting().emitter.messages_of(Told(), None, "group")
        with pytest.raises(BrokerNotConfigured, match="To use NotificationEvent, message_broker argument must be"):
            EventSystem("shop", broker_url="redis://localhost:1").emit(Told())


class TestInAHandler:
    def test_held_back_like_deliveries(self) -> None:
        """Until the handler is done, in the order of emission; the ids derive from the delivery."""
        emitting = Emitting()
        with handled() as scope:
            emitting.emitter.emit_many([Placed(number=1), Told(number=2)])
            asyncio.run(emitting.emitter.aemit_many([Told(number=3)]))
        assert (emitting.placed, emitting.told) == ([], [])
        assert [type(message).__name__ for message in scope.held] == ["Message", *["IntegrationMessage"] * 2]
        emitting.emitter.publish(scope.held)
        assert (emitting.placed, emitting.told) == ([1], [2, 3])

    def test_repeated_they_have_the_same_ids(self) -> None:
        emitting = Emitting()
        ids = set()
        cause = Placed()
        for _ in range(2):
            scope = HandlingScope("delivery", "root", Envelope.of(cause), "both.placed")
            with handling(scope, DerivedIds("delivery", cause.event_id, cause.occurred_at)):
                emitting.emitter.emit_many([Told()])
            ids |= {message.delivery.task_id for message in scope.held}
        assert len(ids) == 1

    def test_now_does_not_wait(self) -> None:
        emitting = Emitting()
        with handled() as scope:
            emitting.emitter.emit_many([Told(number=1)], now=True)
        assert (emitting.told, scope.held) == ([1], [])

    def test_cause_and_trace(self) -> None:
        """The envelope tells what it follows from; the trace of the delivery goes on in both ways."""
        emitting = Emitting()
        with handled(traceparent=TRACE) as scope:
            emitting.emitter.emit_many([*mixed(1)])
        emitting.emitter.publish(scope.held)
        envelope = emitting.broker.published[0].envelope
        assert (envelope.causation_id, envelope.hops, envelope.traceparent) == (scope.cause.id, 1, TRACE)
        assert TRACE.encode() in emitting.broker.published[0].body
        assert emitting.celery.messages[0].headers["traceparent"] == TRACE


class TestEnvelope:
    def test_the_trace_is_there_only_where_there_is_one(self) -> None:
        """An older worker reads an envelope with it; a forged one is left out, and the event is not refused for it."""
        without = Envelope.of(Placed())
        assert b"traceparent" not in without.to_json()
        with_one = Envelope.of(Placed(), None, TRACE)
        again = Envelope.parse(json.loads(with_one.to_json()))
        assert again == with_one
        assert Envelope.parse({**json.loads(with_one.to_json()), "traceparent": 7}).traceparent is None


class TestClassKeywords:
    def test_ecst(self) -> None:
        """entity_key is the partition key too, unless another one is named; a subclass has what its base has."""

        class Moved(ECSTEvent, event_type="keys.moved", entity_key="customer", entity_version="revision"):
            customer: str
            revision: int

        class MovedFar(Moved, event_type="keys.moved_far", partition_key="country"):
            country: str

        assert (Moved.entity_key, Moved.entity_version, Moved.partition_key) == ("customer", "revision", "customer")
        assert (MovedFar.entity_key, MovedFar.partition_key) == ("customer", "country")

    @pytest.mark.parametrize(
        "base, keywords, says",
        [
            (
                ECSTEvent,
                {"entity_key": "nothing"},
                r"entity_key='nothing' must name one of its fields \(name, number\)",
            ),
            (ECSTEvent, {"entity_version": "name"}, "entity_version='name' must name an int field"),
            (ECSTEvent, {"entity_version": "event_id"}, "must name one of its fields"),
            (NotificationEvent, {"partition_key": "nothing"}, "partition_key='nothing' must name one of its fields"),
            (NotificationEvent, {"entity_key": "name"}, "entity_key= is for an ECSTEvent"),
            (NotificationEvent, {"topic": ""}, "topic must be a text of 1 to 200 bytes"),
        ],
    )
    def test_wrong_ones(self, base: type[IntegrationEvent], keywords: dict[str, str], says: str) -> None:
        """When the class is defined, not when the first event is emitted."""
        fields = {"__annotations__": {"name": str, "number": int}, "__module__": __name__}
        with pytest.raises(EventDefinitionError, match=says):
            type("Wrong", (base,), fields, event_type="keys.wrong", **keywords)

    def test_a_field_with_the_name_of_a_keyword(self) -> None:
        """It would have the class's value as its default, without a word."""
        fields = {"__annotations__": {"topic": str}, "__module__": __name__}
        with pytest.raises(EventDefinitionError, match="the field name 'topic' is that of a class keyword"):
            type("Wrong", (NotificationEvent,), fields, event_type="keys.wrong")
