"""Where the broker's streams are in the coordination Redis, what is granted is published in the same step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from events_core import DomainEvent, EventSystem
from events_core.admission.client import Go
from events_core.coordination import connect
from tests.support.redis_server import GivenRedis, RedisServer

GATES = ["limit:desk|"]


class Call(DomainEvent, event_type="desk.call"):
    number: int = 1


class Desk:
    """A system whose one place is taken, and one delivery that waits for it."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.system = EventSystem("desk", broker_url=url, **settings)
        self.spec = self.system.bind(Call, lambda event: None, name="answer")
        self.client: Any = redis.Redis.from_url(url, decode_responses=True)
        self.turns = self.system.turns
        self.published: list[Any] = []
        self.turns._publish = lambda messages, timeout: self.published.extend(messages)
        self.admission = self.turns.admission
        self.admission.call(["declare", {"limit:desk": "1"}])
        first = self.admission.acquire("first", 1, GATES, 30_000)
        assert isinstance(first, Go)
        self.first = first.token
        [self.message] = self.system.emitter.messages_of(Call(), None)
        self.message.gates = GATES
        self.turns.enter([self.message])

    @property
    def member(self) -> str:
        return self.message.delivery.task_id

    def end_first(self) -> None:
        assert self.admission.release("first", self.first, GATES, "done", failed=False)

    def stream(self, prefix: str = "") -> list[dict[str, Any]]:
        """What is in the stream of granted deliveries."""
        entries = self.client.xrange(f"{prefix}stream:desk.events.granted")
        return [json.loads(fields["m"]) for _, fields in entries]

    def token(self) -> int:
        """Of the one that waited."""
        return int(self.client.hget("desk:gates:tokens", self.member).partition(":")[0])


@pytest.fixture
def desk(redis_server: RedisServer | GivenRedis) -> Iterator[Desk]:
    made = Desk(redis_server.empty())
    yield made
    made.system.close()


def test_in_the_stream_with_its_token(desk: Desk) -> None:
    desk.end_first()
    [message] = desk.stream()
    assert message["headers"] == {**desk.message.headers, "events-grant": desk.token()}
    assert message["properties"]["delivery_info"]["routing_key"] == "desk.events.granted"
    assert desk.published == []


def test_its_token_lets_it_begin(desk: Desk) -> None:
    desk.end_first()
    [message] = desk.stream()
    token = message["headers"]["events-grant"]
    assert isinstance(desk.admission.acquire(desk.member, 1, GATES, 30_000, token=token), Go)


def test_it_has_its_time_behind_a_backlog(desk: Desk) -> None:
    """Nobody needs to say that it was published: an hour, not five seconds."""
    desk.end_first()
    now = float(desk.client.time()[0]) * 1000
    assert desk.client.zscore("desk:gates:granted", desk.member) > now + 3_500_000


def test_a_stream_that_cannot_be_written_to(desk: Desk) -> None:
    """Somebody else's key of that name: the rest of the step holds, and it is granted again a little later."""
    desk.client.set("stream:desk.events.granted", "mine")
    desk.end_first()
    now = float(desk.client.time()[0]) * 1000
    assert desk.client.zscore("desk:gates:granted", desk.member) < now + 10_000
    assert desk.client.zrange("desk:gate:held:limit:desk|", 0, -1) == [desk.member]
    desk.client.delete("stream:desk.events.granted")
    desk.client.zadd("desk:gates:granted", {desk.member: 1})
    desk.admission.call(["sweep"])
    assert [message["headers"]["events-grant"] for message in desk.stream()] == [desk.token()]


def test_a_prefix_of_the_broker(redis_server: RedisServer | GivenRedis) -> None:
    desk = Desk(redis_server.empty())
    desk.system.close()
    desk.system.celery.conf.broker_transport_options = {"global_keyprefix": "their:"}
    coordination = connect(desk.system)
    assert coordination.streams == "their:"


@pytest.mark.parametrize("same", [True, False])
def test_a_coordination_redis_of_its_own(redis_server: RedisServer | GivenRedis, same: bool) -> None:
    """Named beside the broker: it is known to be the same one by its address."""
    url = redis_server.empty()
    system = EventSystem("desk", broker_url=url, redis_url=url if same else url.rpartition("/")[0] + "/5")
    assert (connect(system).streams is None) is not same


def test_kombus_own_transport_has_lists(redis_server: RedisServer | GivenRedis) -> None:
    desk = Desk(redis_server.empty(), redis_transport="stock")
    desk.end_first()
    assert desk.stream() == []
    assert [message.headers["events-grant"] for message in desk.published] == [desk.token()]
    desk.system.close()


def test_a_message_that_is_gone(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """Evicted, or deleted by somebody: the next one's turn comes, and it is said."""
    [next_one] = desk.system.emitter.messages_of(Call(), None)
    next_one.gates = GATES
    desk.turns.enter([next_one])
    desk.client.hdel("desk:parked:messages", desk.member)
    desk.end_first()
    assert [message["headers"]["id"] for message in desk.stream()] == [next_one.delivery.task_id]
    assert f"the message of {desk.member} is not in Redis any more" in caplog.text


def test_parked_for_streams_that_the_broker_does_not_have_any_more(desk: Desk) -> None:
    """The broker is another now, and its workers do not read this stream: the process that is told publishes."""
    desk.admission.coordination.streams = None
    desk.end_first()
    assert desk.stream() == []
    [message] = desk.published
    assert message.headers == {**desk.message.headers, "events-grant": desk.token()}
    assert message.body == desk.message.body
    assert message.delivery == desk.message.delivery._replace(queue="desk.events.granted")


def test_parked_for_another_broker(desk: Desk) -> None:
    """The other way round: what was kept for a broker elsewhere is published by the process, to the streams."""
    desk.admission.coordination.streams = None
    [other] = desk.system.emitter.messages_of(Call(), None)
    other.gates = GATES
    desk.turns.enter([other])
    desk.admission.coordination.streams = ""
    desk.end_first()
    assert isinstance(desk.admission.acquire(desk.member, 1, GATES, 30_000, token=desk.token()), Go)
    assert desk.admission.release(desk.member, desk.token(), GATES, "done", failed=False)
    assert [message.delivery.task_id for message in desk.published] == [other.delivery.task_id]
