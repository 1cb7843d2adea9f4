"""What is in a queue and is no message of kombu's."""

from __future__ import annotations

import json

import kombu
import pytest

from tests.contract.brokers import Broker, Inbox, send
from tests.contract.promises import promised

WHOLE = {
    "body": "e30=",
    "content-type": "application/json",
    "content-encoding": "utf-8",
    "headers": {},
    "properties": {
        "body_encoding": "base64",
        "delivery_info": {"exchange": "", "routing_key": "q"},
        "delivery_tag": "t",
    },
}

GARBAGE = {
    "random": bytes(range(255, 0, -3)),
    "empty": b"",
    "text": b"hello",
    "truncated": json.dumps(WHOLE)[:-20].encode(),
    "null": b"null",
    "list": b"[1, 2]",
    "object": b"{}",
    "no-tag": json.dumps(WHOLE | {"properties": {"delivery_info": {"exchange": "", "routing_key": "q"}}}).encode(),
    "no-headers": json.dumps({k: v for k, v in WHOLE.items() if k != "headers"}).encode(),
    "bad-base64": json.dumps(WHOLE | {"body": "abc"}).encode(),
    "deep": b"[" * 100_000,
}


def raw_body(message: kombu.Message) -> bytes:
    """The body before it is decoded; py-amqp makes text of what is UTF-8."""
    return message.body.encode() if isinstance(message.body, str) else bytes(message.body)


@promised("garbage")
@pytest.mark.parametrize("raw", [pytest.param(raw, id=name) for name, raw in GARBAGE.items()])
def test_garbage_is_delivered_as_it_is_and_stops_nobody(broker: Broker, raw: bytes) -> None:
    """It cannot be decoded, keeps its bytes, and what is behind it still comes."""
    queue = broker.queue()
    with broker.connect() as connection:
        queue.bind(connection.default_channel).declare()
        broker.inject(queue.name, raw)
        send(connection, queue, "good")
        inbox = Inbox(connection, queue)
        inbox.look(0.5, 2)
        assert len(inbox.messages) == 2
        garbage, good = inbox.messages
        assert raw_body(garbage) == raw
        if broker.kind == "streams":  # elsewhere some of it is a body in JSON, and so no garbage
            with pytest.raises(Exception):
                garbage.decode()
        assert good.payload == "good"
        inbox.ack_all()
    broker.wait_for_ready(queue, 0)


@promised("garbage")
def test_garbage_can_be_given_back_and_taken_by_basic_get(broker: Broker) -> None:
    """It is then in the queue as before."""
    queue, raw = broker.queue(), GARBAGE["random"]
    with broker.connect() as connection:
        queue.bind(connection.default_channel).declare()
        broker.inject(queue.name, raw)
        message = queue.bind(connection.default_channel).get()
        assert raw_body(message) == raw
        message.requeue()
        broker.wait_for_ready(queue, 1)
    with broker.connect() as connection:
        message = queue.bind(connection.default_channel).get()
        assert raw_body(message) == raw
        message.ack()
    broker.wait_for_ready(queue, 0)


@promised("garbage", "keys_of_its_own")
def test_an_entry_of_other_fields_stops_nobody(broker: Broker) -> None:
    """Someone else's XADD."""
    queue = broker.queue()
    with broker.connect() as connection:
        queue.bind(connection.default_channel).declare()
        with broker.client() as client:
            client.xadd(f"stream:{queue.name}", {b"other": b"field", b"\xff": b"\xff"})
        send(connection, queue, "good")
        inbox = Inbox(connection, queue)
        inbox.look(0.5, 2)
        assert inbox.messages[-1].payload == "good"
        inbox.ack_all()
    broker.wait_for_ready(queue, 0)
