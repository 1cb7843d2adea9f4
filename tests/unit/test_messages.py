"""Celery messages for deliveries: protocol 2, without the payload in any header."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from typing import Any
from uuid import uuid5

import pytest
from celery import Celery

from events_core import BindError, DomainEvent, EventMap
from events_core.envelope import Envelope
from events_core.publishing.messages import Delivery, Message, MessageBuilder
from events_core.scope import HandlingScope


class Placed(DomainEvent, event_type="messages.placed"):
    order_id: int
    email: str = "ann@example.org"


def one(event: Placed) -> None: ...
def two(event: Placed) -> None: ...


def build(event_map: EventMap, event: DomainEvent, scope: HandlingScope | None = None) -> list[Message]:
    envelope = Envelope.of(event, scope.cause if scope else None)
    specs = event_map.route(type(event))
    return MessageBuilder("shop.events").messages(specs, event, envelope, envelope.to_json(), scope)


@pytest.fixture
def event_map() -> EventMap:
    event_map = EventMap()
    event_map.bind(Placed, one, name="one")
    event_map.bind(Placed, two, name="two", queue="mail")
    return event_map


def test_one_message_for_each_handler_in_order(event_map: EventMap) -> None:
    """Each delivery has its handler, the queue of it, and the id that anyone can compute."""
    event = Placed(order_id=1)
    assert [message.delivery for message in build(event_map, event)] == [
        Delivery("one", str(uuid5(event.event_id, "one:0")), "shop.events"),
        Delivery("two", str(uuid5(event.event_id, "two:0")), "mail"),
    ]


def test_the_body_is_protocol_2_with_the_envelope_as_only_argument(event_map: EventMap) -> None:
    """DESIGN §5: [[envelope], {}, embed]."""
    event = Placed(order_id=1)
    for message in build(event_map, event):
        args, kwargs, embed = json.loads(message.body)
        assert args == [json.loads(Envelope.of(event).to_json())]
        assert kwargs == {}
        assert embed == {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def test_the_headers(event_map: EventMap) -> None:
    """What protocol 2 and our own format need; the root of a chain is the delivery itself."""
    event = Placed(order_id=1)
    headers = build(event_map, event)[0].headers
    task_id = str(uuid5(event.event_id, "one:0"))
    assert headers["task"] == "one"
    assert (headers["id"], headers["root_id"], headers["parent_id"]) == (task_id, task_id, None)
    assert (headers["lang"], headers["retries"]) == ("py", 0)
    assert (headers["events-v"], headers["events-attempt"], headers["events-generation"]) == (1, 1, 0)
    assert headers["origin"].startswith(f"{os.getpid()}@")


def test_the_payload_is_in_no_header(event_map: EventMap) -> None:
    """Promise 9: Celery logs and shows headers; argsrepr is the type and the beginning of the id."""
    event = Placed(order_id=77_001, email="sesame@example.org")
    for message in build(event_map, event):
        assert message.headers["argsrepr"] == f"messages.placed {str(event.event_id)[:8]}…"
        assert "sesame" not in repr(message.headers)
        assert "77001" not in repr(message.headers)


def test_messages_do_not_share_their_headers(event_map: EventMap) -> None:
    """A receiver of Celery's signals may add to them."""
    first = build(event_map, Placed(order_id=1))
    first[0].headers["added"] = 1
    assert "added" not in first[1].headers
    assert "added" not in build(event_map, Placed(order_id=2))[0].headers


def test_a_follow_up_names_its_parent_its_root_and_the_chain(event_map: EventMap) -> None:
    """Hole 6: Celery's own ids link what follows; the chain is there for a dead letter that tells it."""
    cause = Envelope.of(Placed(order_id=1))
    scope = HandlingScope("parent", "root", cause, "a > b")
    headers = build(event_map, Placed(order_id=2), scope)[0].headers
    assert (headers["parent_id"], headers["root_id"]) == ("parent", "root")
    assert headers["events-chain"] == "a > b > messages.placed"


def test_a_long_chain_keeps_its_end(event_map: EventMap) -> None:
    """The header stays small however long a cycle runs."""
    scope = HandlingScope("parent", "root", Envelope.of(Placed(order_id=1)), "x" * 10_000)
    chain = build(event_map, Placed(order_id=2), scope)[0].headers["events-chain"]
    assert len(chain) <= 300
    assert chain.endswith("> messages.placed")


class TestExistingTasks:
    @staticmethod
    def app(**settings: Any) -> Celery:
        app = Celery("messages", set_as_current=False)
        app.conf.update(task_default_queue="their.default", **settings)
        return app

    @staticmethod
    def charge(order_id: Any, currency: str = "EUR") -> None: ...

    def deliver(self, app: Celery, args: Any, **options: Any) -> Message:
        task = app.task(name="billing.charge", **options)(self.charge)
        event_map = EventMap()
        event_map.bind(Placed, task, args=args)
        return build(event_map, Placed(order_id=7))[0]

    def test_it_is_called_with_what_args_makes_of_the_event(self) -> None:
        """DESIGN §3: the task gets its own arguments, not an envelope."""
        message = self.deliver(self.app(), lambda event: (event.order_id, "USD"))
        assert json.loads(message.body)[:2] == [[7, "USD"], {}]
        assert message.headers["task"] == "billing.charge"

    def test_arguments_are_encoded_as_celery_encodes_them(self) -> None:
        """A Decimal or UUID among them arrives as from `delay`."""
        body = json.loads(self.deliver(self.app(), lambda event: (Decimal("1.5"), event.event_id)).body)
        from kombu.utils import json as kombu_json

        amount, event_id = kombu_json.loads(json.dumps(body[0]))
        assert amount == Decimal("1.5")
        assert event_id.version == 7

    def test_without_args_it_is_called_without(self) -> None:
        """A task may need nothing of the event."""
        assert json.loads(self.deliver(self.app(), None).body)[0] == []

    def test_args_that_gives_no_tuple_is_an_error_that_says_so(self) -> None:
        """The common slip: `lambda event: event.order_id`."""
        with pytest.raises(BindError, match=r"must return a tuple of arguments, such as \(event.order_id,\)"):
            self.deliver(self.app(), lambda event: event.order_id)

    @pytest.mark.parametrize(
        "settings, options, queue",
        [
            ({}, {}, "their.default"),
            ({"task_routes": {"billing.*": {"queue": "routed"}}}, {}, "routed"),
            ({"task_routes": {"billing.*": "routed"}}, {}, "routed"),
            ({}, {"queue": "own"}, "own"),
        ],
    )
    def test_it_goes_where_celery_itself_would_send_it(
        self, settings: dict[str, Any], options: dict[str, Any], queue: str
    ) -> None:
        """Its workers listen there."""
        assert self.deliver(self.app(**settings), None, **options).delivery.queue == queue


def test_a_forked_child_is_an_origin_of_its_own(event_map: EventMap) -> None:
    """`origin` names the process that emitted, also under gunicorn's preload."""
    builder = MessageBuilder("q")
    event = Placed(order_id=1)
    envelope = Envelope.of(event)

    def origin() -> str:
        messages = builder.messages(event_map.route(Placed), event, envelope, envelope.to_json(), None)
        return str(messages[0].headers["origin"])

    assert origin().startswith(f"{os.getpid()}@")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, f"{os.getpid()} {origin()}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    pid, told = os.read(reader, 1000).decode().split()
    os.close(reader)
    os.close(writer)
    assert told.startswith(f"{pid}@")
