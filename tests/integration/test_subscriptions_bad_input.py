"""What comes from outside and cannot be handled: accounted for, kept, and in nobody's way."""

from __future__ import annotations

import base64
import json
import os
from typing import Any
from uuid import uuid4

import pytest

from tests.apps import subscribing as app
from tests.apps.subscription_rig import SubscriptionRig, subscription_rig
from tests.support.exchanges import connection_to
from tests.support.waiting import wait_until

BROKERS = pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
CLOUDEVENTS = "application/cloudevents+json"
#: Events among ten times as many messages that are none. 1000 in the project's demonstration.
GOOD = int(os.environ.get("TEST_GOOD_EVENTS", "100"))


def cloudevent(event_type: str = "order.approved", version: int = 1, **data: Any) -> bytes:
    """As an outside producer writes it."""
    document = {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": "/outside",
        "type": event_type,
        "time": "2026-01-02T03:04:05Z",
        "datacontenttype": "application/json",
        "eventversion": version,
        "data": data,
    }
    return json.dumps(document).encode()


GARBAGE = [
    b"",
    b"garbage",
    bytes(range(256)),
    b'{"specversion": "1.0"',
    b"[1, 2, 3]",
    json.dumps({"type": "order.approved"}).encode(),
    cloudevent(tag="t").replace(b'"1.0"', b'"9.9"'),
]


@BROKERS
def test_garbage_among_good_events(broker: str, redis_server: Any, rabbitmq_server: Any) -> None:
    """Ten times as many messages that are none as events: every event is handled once, each other message is counted
    and kept as it came, the worker serves on, and the queue is empty.
    """
    good, garbage = GOOD, GOOD * 10
    with subscription_rig(broker, redis_server, rabbitmq_server) as sub:
        worker = sub.worker("threads", 2)
        for start in range(0, good, 10):
            sub.put_many([GARBAGE[number % len(GARBAGE)] for number in range(garbage // good * 10)])
            sub.orders.emit_many([app.Confirmed(tag="t", number=start + number + 10) for number in range(10)])
        shipped = sub.rig.wait_for_records("t", good, "shipped", 60)
        assert sorted(line["number"] for line in shipped) == [*range(10, good + 10)]
        wait_until(lambda: sub.counts()["received"] == good + garbage, 60, "all to be received")
        counts = sub.counts()
        assert (counts["delivered"], counts["undecodable"]) == (2 * good, garbage)
        letters = sub.rig.letters(reason="undecodable")
        assert len(letters) == garbage
        assert {base64.b64decode(letter.raw or "") for letter in letters} == {*GARBAGE}
        assert {(letter.queue, letter.handler) for letter in letters} == {(sub.queue("orders"), None)}
        assert worker.alive


def test_each_kind(redis_server: Any, rabbitmq_server: Any) -> None:
    """Oversize, undecodable, a wrong schema, an unknown version, a type nobody asked for: counted apart. A wrong schema
    is a dead letter of each subscriber, with its delivery; no log has a word of the payload.
    """
    with subscription_rig("rabbitmq", redis_server, rabbitmq_server, max_event_bytes=2_000) as sub:
        worker = sub.worker("threads", 1)
        sub.put_many([b"x" * 3_000, b"secret garbage"], content_type=CLOUDEVENTS)
        sub.put_many([cloudevent(tag=["secret"]), cloudevent(version=8, tag="secret")], content_type=CLOUDEVENTS)
        sub.put_many([cloudevent("order.unheard", tag="secret")], content_type=CLOUDEVENTS)
        wait_until(lambda: sub.counts()["received"] == 5, what="all of them")
        expected = {"oversize": 1, "undecodable": 1, "invalid": 1, "unknown_event": 1, "skipped": 1, "delivered": 0}
        assert expected.items() <= sub.counts().items()
        handlers = {letter.handler for letter in sub.rig.letters(reason="invalid")}
        assert handlers == {"tests.apps.subscribing.ship", "tests.apps.subscribing.book"}
        (oversize,) = sub.rig.letters(reason="oversize")
        assert base64.b64decode(oversize.raw or "") == b"x" * 3_000
        assert "secret" not in worker.log
        assert not any("secret" in letter.error for letter in sub.rig.letters())


@BROKERS
def test_what_came_with_it_is_kept_and_shown(broker: str, redis_server: Any, rabbitmq_server: Any) -> None:
    """Where it came from, for everyone who looks; its headers, which may hold anything, as the payload only if asked
    for. With that, anyone can send it again as it was.
    """
    with subscription_rig(broker, redis_server, rabbitmq_server) as sub:
        sub.worker("threads", 1)
        shown = {
            "topic": "orders",
            "routing_key": "notification_event.order.approved",
            "content_type": "text/x",
            "message_id": "bank-9",
            "type": "approved",
            "timestamp": 1_700_000_000,
        }
        with connection_to(sub.url) as connection:
            connection.Producer().publish(
                b"garbage",
                exchange=shown["topic"],
                routing_key=shown["routing_key"],
                content_type=shown["content_type"],
                content_encoding="binary",
                headers={"tenant": "secret", "many": [1], "events-dead-reason": "forged"},
                message_id=shown["message_id"],
                type=shown["type"],
                timestamp=shown["timestamp"],
            )
        letter = sub.rig.letter(reason="undecodable")
        headers = {"tenant": "secret"}
        assert letter.received == {**shown, "headers": headers}
        command = ("dead", "show", letter.id)
        told = sub.rig.events(*command).stdout
        assert all(json.dumps(value) in told for value in shown.values())
        assert "secret" not in told
        assert json.loads(sub.rig.events(*command, "--json").stdout)["received"] == shown
        assert json.loads(sub.rig.events(*command, "--json", "--payload").stdout)["received"] == letter.received
        assert "secret" in sub.rig.events(*command, "--payload").stdout
        assert sub.rig.events("dead", "discard", letter.id).returncode == 0


def forged(sub: SubscriptionRig, event_type: str) -> None:
    """A message with that type in it, by the routing key of one that is wanted."""
    sub.put(cloudevent(event_type, tag="forged"), content_type=CLOUDEVENTS)


@BROKERS
def test_forged_types(broker: str, redis_server: Any, rabbitmq_server: Any) -> None:
    """The type of this service's own domain event, sent from outside: no handler of it runs."""
    with subscription_rig(broker, redis_server, rabbitmq_server) as sub:
        sub.worker("threads", 1)
        for event_type in ("order.packed", "customer.moved", "group.completed"):
            forged(sub, event_type)
        sub.orders.emit(app.Confirmed(tag="good"))
        sub.rig.wait_for_records("good", 1, "shipped")
        wait_until(lambda: sub.counts()["received"] == 4, what="all of them")
        assert sub.counts()["skipped"] == 3
        assert sub.rig.records("forged") == []
        assert sub.rig.letters() == []


@BROKERS
def test_a_newer_version_waits_for_the_upgrade(broker: str, redis_server: Any, rabbitmq_server: Any) -> None:
    """The older code gets version 2: a dead letter of the subscriber. A redrive after the deploy handles it; and the
    newer code handles version 1 by its upcaster.
    """
    with subscription_rig(broker, redis_server, rabbitmq_server) as sub:
        sub.worker("threads", 1, env={"TEST_DEPLOY": "old"})
        sub.orders.emit(app.LabelledBetter(tag="t", labels=["x", "y"]))
        letter = sub.rig.letter(reason="unknown_event")
        assert (letter.handler, letter.event_type, letter.version) == (
            "tests.apps.subscribing.label", "order.labelled", 2,
        )  # fmt: skip
        assert "only 1" in letter.error
        assert letter.starts == 0
        sub.rig.wait_for_rest()
        sub.rig.kill_workers()
        sub.worker("threads", 1)
        redriven = sub.rig.events("dead", "redrive", letter.id, "--yes")
        assert redriven.returncode == 0, redriven.stdout + redriven.stderr
        sub.rig.wait_for_records("t", 1, "labelled")
        sub.orders.emit(app.Labelled(tag="old", label="p,q"))
        sub.rig.wait_for_records("old", 1, "labelled")
        found = [(line["version"], line["labels"]) for tag in ("t", "old") for line in sub.rig.records(tag)]
        assert found == [(2, ["x", "y"]), (2, ["p", "q"])]
        assert sub.rig.letters() == []
