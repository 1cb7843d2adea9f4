"""brokers-publish, brokers-subscribe: integration events beside kombu's Producer and a plain Celery task."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from uuid import uuid4

import kombu

from benchmarks.apps.subscribing import TOPIC, Told
from benchmarks.latency import POOL, RATE, compare
from benchmarks.rounds import Measure, alternate, microseconds
from benchmarks.sides import Subscribed
from benchmarks.stage import Broker, Stage, stream_of
from benchmarks.table import FASTER, Report, Row, Target
from events_core import EventSystem
from events_core.brokers import ExchangeBroker, MessageBroker, RedisStreamBroker, Subscription
from events_core.envelope import Envelope

NUMBER = 1000
ROUNDS = 7
#: How many times faster than `Producer.publish` one by one.
FASTER_THAN = {"RabbitMQ": 4.5, "Redis": 8.0}
#: What p50 from emit to handler start may be, as a part of that of a plain task.
P50 = 2.5
QUEUE = "bench.told"
KEY = f"{Told.event_kind}.{Told.event_type}"
THEIRS = kombu.Exchange("bench-theirs", "topic", durable=True)
THEIR_QUEUE = kombu.Queue("bench.theirs", THEIRS, routing_key=KEY, durable=True)


def publish(stage: Stage) -> Report:
    """1,000 events in one call, each bound to one durable queue, beside as many calls of `Producer.publish`."""
    rabbitmq, redis = stage.rabbitmq(), stage.redis()
    streams = RedisStreamBroker(redis.url, format="record", max_length=100_000)
    return Report(
        f"brokers-publish: microseconds per event, {NUMBER:,} in one emit_many, confirmed",
        [
            *_publish(stage, rabbitmq, {"exchange": ExchangeBroker(rabbitmq.url)}),
            *_publish(stage, redis, {"exchange": ExchangeBroker(redis.url), "stream": streams}),
        ],
        [
            "Ours includes making the events and writing them as CloudEvents (in the stream: as records).",
            "Producer.publish gets the ready text of the same CloudEvent, one call for each, on one connection; on",
            "RabbitMQ with confirm_publish. On both sides one durable queue is bound to the topic exchange.",
        ],
    )


def _publish(stage: Stage, broker: Broker, brokers: dict[str, MessageBroker]) -> list[Row]:
    number = stage.effort.times(NUMBER)
    with ExitStack() as ends:
        measures: list[Measure] = []
        for message_broker in brokers.values():
            emit = ends.enter_context(_emitting(broker, message_broker))
            measures.append(microseconds(partial(emit, number), 1, per=number))
        send, drop = ends.enter_context(_producing(broker))
        measures.append(microseconds(partial(send, number), 1, per=number))
        *ours, theirs = alternate(stage.effort.rounds(ROUNDS), measures, between=drop)
    target = Target("≥", FASTER_THAN[broker.name])
    return [
        Row(f"{broker.name}, {name}", "µs", figures, theirs, "Producer.publish", FASTER, target)
        for name, figures in zip(brokers, ours, strict=True)
    ]


@contextmanager
def _emitting(broker: Broker, message_broker: MessageBroker) -> Iterator[Callable[[int], object]]:
    """Makes and emits so many events, which a durable queue keeps."""
    system = EventSystem(
        "bench-tell", broker_url=broker.url, redis_url=broker.redis_url, message_broker=message_broker, emit_timeout=30
    )
    message_broker.declare(Subscription(QUEUE, frozenset({(TOPIC, KEY)})))
    yield lambda number: system.emit_many([Told(order_id=str(uuid4())) for _ in range(number)])
    system.close()


@contextmanager
def _producing(broker: Broker) -> Iterator[tuple[Callable[[int], None], Callable[[], None]]]:
    """Publishes the same content so many times with kombu; and deletes what waits on both sides."""
    options = {"confirm_publish": True} if broker.name == "RabbitMQ" else {}
    event = Told(order_id=str(uuid4()))
    message = ExchangeBroker(broker.url).message(event, Envelope.of(event), TOPIC)
    body = message.body.decode()
    assert json.loads(body)["data"]["order_id"] == event.order_id
    with kombu.Connection(broker.url, transport_options=options) as connection:
        channel = connection.default_channel
        THEIR_QUEUE.bind(channel).declare()
        producer = connection.Producer()

        def send(number: int) -> None:
            for _ in range(number):
                producer.publish(
                    body,
                    exchange=THEIRS.name,
                    routing_key=KEY,
                    content_type=message.content_type,
                    content_encoding="utf-8",
                    message_id=message.envelope.id,
                    type=message.envelope.type,
                    delivery_mode=2,
                )

        def drop() -> None:
            channel.queue_purge(THEIR_QUEUE.name)
            if broker.name == "RabbitMQ":
                channel.queue_purge(QUEUE)
            else:
                channel.client.xtrim(stream_of(QUEUE), maxlen=0)
                channel.client.xtrim(TOPIC, maxlen=0)

        yield send, drop


def subscribe(stage: Stage) -> Report:
    """200 events a second through an exchange and a subscription, with `delay()` at the same rate beside it."""
    report = Report(
        f"brokers-subscribe: milliseconds from emit to the start of the subscriber, {RATE}/s, {POOL.slots} threads"
    )
    for broker in stage.brokers():
        report.rows += compare(broker, stage, Subscribed(broker), (P50, None))
    report.remarks = [
        "Ours: emit, exchange, subscription, delivery, handler, all on one broker; a plain task: delay(), worker.",
        "On Redis, delay() is that of Celery on kombu's own transport, and once more on redis-streams://.",
    ]
    return report
