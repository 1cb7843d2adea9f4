"""AsyncAPI documents: valid by AsyncAPI's own schema, and true of what is on the wire."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

import jsonschema
import pytest
from pydantic import BaseModel, Field, Json

from events_core import ECSTEvent, EventSystem, NotificationEvent
from events_core.brokers import ExchangeBroker, InMemoryBroker, MessageBroker, RedisPubSubBroker, RedisStreamBroker
from events_core.brokers.base import Received
from events_core.brokers.redis_stream.entries import fields_of
from events_core.describing import asyncapi, payload_schema
from events_core.describing.draft07 import draft07
from events_core.describing.messages import FORMATS
from events_core.envelope import Envelope
from events_core.events import IntegrationEvent

SCHEMA = Path(__file__).parents[1] / "fixtures" / "asyncapi" / "3.0.0.json"


class Line(BaseModel):
    name: str
    pair: tuple[int, str] = (1, "a")


class Big(BaseModel):
    kind: Literal["big"] = "big"
    before: Annotated[Big | None, Field(description="What it was.")] = None


class Small(BaseModel):
    kind: Literal["small"] = "small"


class Confirmed(NotificationEvent, event_type="asyncapi.order/confirmed", topic="orders"):
    """An order was confirmed."""

    order_id: UUID
    lines: list[Line]
    size: Big | Small = Field(default=Big(), discriminator="kind")
    raw: Json[list[int]] = Field(default_factory=list)
    rate: float = 1.0


class Confirmed2(NotificationEvent, event_type="asyncapi.order/confirmed", version=2, topic="orders"):
    order_id: UUID


class Customer(ECSTEvent, event_type="asyncapi.customer", entity_key="number", entity_version="revision"):
    number: int
    revision: int


class Shipped(NotificationEvent, event_type="asyncapi.shipped", topic="shipping"):
    order_id: UUID


class Own(NotificationEvent, event_type="asyncapi.own"):
    """Sent, and heard by the sender too."""


EVENTS = [Confirmed, Confirmed2, Customer, Shipped, Own]
BROKERS: dict[str, Callable[[], MessageBroker]] = {
    "rabbitmq": lambda: ExchangeBroker("amqp://shop:hidden@rabbit:5673/live"),
    "rabbitmq classic": lambda: ExchangeBroker("amqps://shop:hidden@rabbit//", format="classic"),
    "rabbitmq flat": lambda: ExchangeBroker("amqp://rabbit", format="flat"),
    "redis exchange": lambda: ExchangeBroker("redis://:hidden@cache:6380/2"),
    "pubsub": lambda: RedisPubSubBroker("redis://:hidden@cache:6380/2"),
    "stream": lambda: RedisStreamBroker("rediss://shop:hidden@cache/2"),
    "stream cloudevents": lambda: RedisStreamBroker("redis://cache", stream_name="all", format="cloudevents"),
    "memory": InMemoryBroker,
}


def shop(broker: MessageBroker) -> EventSystem:
    system = EventSystem("shop", broker_url="redis://localhost", message_broker=broker)

    def ship(event: Shipped) -> None: ...

    def count(event: IntegrationEvent) -> None: ...

    system.subscriber(events=[Shipped], name="shop.ship")(ship)
    system.subscriber(events=[Own, Shipped], topic="shop", queue="shop.all", name="shop.count")(count)
    return system


def described(broker: MessageBroker) -> dict[str, Any]:
    system = shop(broker)
    return asyncapi("shop", "1.2.0", broker, EVENTS, system.event_map.subscribers)


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest) -> MessageBroker:
    return BROKERS[request.param]()


@cache
def official() -> Any:
    schema = json.loads(SCHEMA.read_text())
    with warnings.catch_warnings():  # it refers to draft 07 with and without "#": the library resolves the latter by
        warnings.simplefilter("ignore", DeprecationWarning)  # its older way
        return jsonschema.Draft7Validator(schema)


def faults(document: Any) -> list[str]:
    return [f"{error.json_path}: {error.message[:200]}" for error in official().iter_errors(document)]


def test_it_is_valid_by_the_schema_of_asyncapi(broker: MessageBroker) -> None:
    assert faults(described(broker)) == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d.pop("info"),
        lambda d: d.update(asyncapi="3.1.0"),
        lambda d: d["operations"]["send.asyncapi.own"].update(action="emit"),
        lambda d: d["channels"]["orders"]["bindings"]["amqp"].update({"is": "queue"}),
        lambda d: d["components"]["schemas"]["Line"].update(type="texts"),
        lambda d: d["servers"]["broker"].pop("host"),
    ],
)
def test_that_schema_does_find_faults(spoil: Callable[[dict[str, Any]], Any]) -> None:
    """Otherwise the test above would prove nothing."""
    document = described(BROKERS["rabbitmq"]())
    spoil(document)
    assert faults(document) != []


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def test_every_reference_leads_somewhere(broker: MessageBroker) -> None:
    document = described(broker)
    for reference in set(references(document)):
        found: Any = document
        for key in reference.removeprefix("#/").split("/"):
            found = found[key]
    used = {r.removeprefix("#/components/schemas/") for r in references(document)}
    assert set(document["components"]["schemas"]) <= used  # nor is there any that nothing leads to


def test_it_is_the_same_each_time(broker: MessageBroker) -> None:
    system = shop(broker)
    subscribers = system.event_map.subscribers
    one = asyncapi("shop", "1", broker, EVENTS, subscribers)
    other = asyncapi("shop", "1", broker, EVENTS[::-1], subscribers[::-1])
    assert json.dumps(one) == json.dumps(other)


@pytest.mark.parametrize(
    ("name", "server"),
    [
        (
            "rabbitmq",
            {"host": "rabbit:5673", "protocol": "amqp", "protocolVersion": "0.9.1", "pathname": "/live"},
        ),
        ("rabbitmq classic", {"host": "rabbit:5671", "protocol": "amqps", "protocolVersion": "0.9.1"}),
        ("redis exchange", {"host": "cache:6380", "protocol": "redis", "pathname": "/2"}),
        ("pubsub", {"host": "cache:6380", "protocol": "redis", "pathname": "/2"}),
        ("stream", {"host": "cache:6379", "protocol": "rediss", "pathname": "/2"}),
    ],
)
def test_the_server_without_credentials(name: str, server: dict[str, str]) -> None:
    document = described(BROKERS[name]())
    assert document["servers"] == {"broker": server}
    assert "hidden" not in json.dumps(document)
    assert "shop:" not in json.dumps(document["servers"])


def test_no_server_no_servers() -> None:
    assert "servers" not in described(InMemoryBroker())


def test_on_rabbitmq_exchanges_and_queues_with_their_keys() -> None:
    document = described(BROKERS["rabbitmq"]())
    channels, operations = document["channels"], document["operations"]
    assert channels["orders"]["bindings"]["amqp"]["exchange"] == {
        "name": "orders",
        "type": "topic",
        "durable": True,
        "autoDelete": False,
        "vhost": "live",
    }
    assert list(channels["orders"]["messages"]) == [
        "asyncapi.order_confirmed.v1",
        "asyncapi.order_confirmed.v2",
    ]
    sending = operations["send.asyncapi.order_confirmed"]
    assert sending["bindings"]["amqp"]["cc"] == ["notification_event.asyncapi.order/confirmed"]
    assert (sending["action"], len(sending["messages"])) == ("send", 2)
    queue = channels["queue.shop.all"]
    assert queue["bindings"]["amqp"]["queue"]["name"] == queue["address"] == "shop.all"
    assert queue["x-bound-to"] == [
        {"exchange": "shop", "routingKey": "notification_event.asyncapi.own"},
        {"exchange": "shop", "routingKey": "notification_event.asyncapi.shipped"},
    ]
    assert operations["receive.shop.count"]["channel"] == {"$ref": "#/channels/queue.shop.all"}
    assert operations["receive.shop.ship"]["channel"] == {"$ref": "#/channels/queue.shop.shipping"}


def test_what_is_sent_and_what_is_received(broker: MessageBroker) -> None:
    """An event of another's topic that is subscribed to is not ours to send."""
    operations = described(broker)["operations"]
    sent = {name for name, operation in operations.items() if operation["action"] == "send"}
    assert sent == {
        "send.asyncapi.order_confirmed",
        "send.asyncapi.customer",
        "send.asyncapi.own",
    }
    assert {name.removeprefix("receive.").partition(".shipping")[0] for name in operations if name not in sent} >= {
        "shop.ship",
        "shop.count",
    }


@pytest.mark.parametrize(("name", "count"), [("rabbitmq", 1), ("stream", 2)])
def test_a_subscriber_of_two_topics_receives_at_as_many_places_as_it_listens_at(name: str, count: int) -> None:
    """One queue on RabbitMQ, two streams on Redis."""
    broker = BROKERS[name]()
    system = EventSystem("shop", broker_url="redis://localhost", message_broker=broker)

    def hear(event: IntegrationEvent) -> None: ...

    system.subscriber(events=[Shipped, Confirmed], queue="shop.both", name="shop.hear")(hear)
    document = asyncapi("shop", "1", broker, EVENTS, system.event_map.subscribers)
    receiving = [operation for operation in document["operations"].values() if operation["action"] == "receive"]
    assert len({operation["channel"]["$ref"] for operation in receiving}) == len(receiving) == count
    assert sum(len(operation["messages"]) for operation in receiving) == 2
    assert faults(document) == []


@pytest.mark.parametrize(
    ("name", "addresses"),
    [
        ("redis exchange", {"orders", "shop", "shipping"}),
        (
            "pubsub",
            {
                "python_diator_channel:notification_event:{message_id}",
                "python_diator_channel:ecst_event:{message_id}",
            },
        ),
        ("stream", {"orders", "shop", "shipping"}),
        ("stream cloudevents", {"all"}),
    ],
)
def test_addresses_are_those_of_the_broker(name: str, addresses: set[str]) -> None:
    channels = described(BROKERS[name]())["channels"]
    assert {channel["address"] for channel in channels.values()} == addresses
    for channel in channels.values():
        assert set(channel.get("parameters", ())) == set(re.findall(r"{(\w+)}", channel["address"]))


MADE = [
    Confirmed(order_id=uuid4(), lines=[Line(name="pen"), Line(name="ink", pair=(2, "b"))], rate=float("inf")),
    Confirmed(order_id=uuid4(), lines=[], size=Big(before=Big()), raw="[1]"),
    Confirmed2(order_id=uuid4()),
    Customer(number=7, revision=3),
    Own(),
]


@pytest.mark.parametrize("event", MADE, ids=lambda event: type(event).__name__)
def test_a_message_that_is_sent_fits_what_is_said_of_it(broker: MessageBroker, event: IntegrationEvent) -> None:
    """What `MessageBroker.message` makes, as a consumer with a validator of draft 07 sees it."""
    document = described(broker)
    message = broker.message(event, Envelope.of(event, Envelope.of(Own())), event.topic or "shop")
    (told,) = [
        told
        for told in document["components"]["messages"].values()
        if (told["x-event"]["type"], told["x-event"]["version"]) == (event.event_type, event.version)
    ]
    body: Any = json.loads(message.body)
    if isinstance(broker, RedisStreamBroker):
        flat = [
            part.decode() if isinstance(part, bytes) else str(part)
            for part in fields_of(message, record=broker.format.name == "record", topic=message.topic)
        ]
        body = dict(zip(flat[::2], flat[1::2], strict=True))
    assert told["contentType"] == message.content_type
    schema = {**told["payload"], "components": document["components"]}
    jsonschema.Draft7Validator(schema).validate(body)
    with pytest.raises(jsonschema.ValidationError):  # and not just anything fits
        jsonschema.Draft7Validator(schema).validate({**body, **dict.fromkeys(list(body)[:3], 1)})


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("event", MADE, ids=lambda event: type(event).__name__)
def test_formats_read_what_is_said_of_them(format: Any, event: IntegrationEvent) -> None:
    """A message by the schema of a received one, which needs less, is one that we can read."""
    broker = InMemoryBroker(format=format)
    body = json.loads(broker.message(event, Envelope.of(event), "shop").body)
    document = asyncapi("other", "1", broker, [type(event)], _heard(event))
    (told,) = document["components"]["messages"].values()
    needed = [
        *told["payload"].get("required", ()),
        *(r for p in told["payload"].get("allOf", ()) for r in p.get("required", ())),
    ]
    fields = set(payload_schema(type(event))["properties"])
    least = {name: value for name, value in body.items() if name in needed or name in fields}
    schema = {**told["payload"], "components": document["components"]}
    jsonschema.Draft7Validator(schema).validate(least)
    received = Received(json.dumps(least).encode(), content_type=broker.format.content_type, topic="shop")
    assert broker.format.decode(received).type == event.event_type


def _heard(event: IntegrationEvent) -> Any:
    system = EventSystem("other", broker_url="redis://localhost", message_broker=InMemoryBroker())

    def hear(event: IntegrationEvent) -> None: ...

    system.subscriber(events=[type(event)], topic="shop", name="other.hear")(hear)
    return system.event_map.subscribers


def test_a_format_of_ones_own_is_not_made_up() -> None:
    class Mine:
        name = "mine"
        content_type = "application/x-mine"

        def encode(self, event: Any, envelope: Any, source: str) -> bytes:
            return b""

        def decode(self, received: Any) -> Any: ...

    document = described(InMemoryBroker(format=Mine()))
    assert document["defaultContentType"] == "application/x-mine"
    assert all("payload" not in told for told in document["components"]["messages"].values())


class TestDraft07:
    @pytest.mark.parametrize(
        ("new", "old"),
        [
            (
                {"prefixItems": [{"type": "integer"}], "items": {"type": "string"}},
                {"items": [{"type": "integer"}], "additionalItems": {"type": "string"}},
            ),
            ({"$ref": "#/a", "description": "b"}, {"description": "b", "allOf": [{"$ref": "#/a"}]}),
            ({"$ref": "#/a"}, {"$ref": "#/a"}),
            ({"oneOf": [True], "discriminator": {"propertyName": "a"}}, {"oneOf": [True]}),
            ({"properties": {"prefixItems": {"type": "array"}}}, {"properties": {"prefixItems": {"type": "array"}}}),
        ],
    )
    def test_the_same_in_older_words(self, new: dict[str, Any], old: dict[str, Any]) -> None:
        assert draft07(new) == old
