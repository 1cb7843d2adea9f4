"""Chat servers as processes of their own: killed, slow, shut down. What is in a durable queue is not lost."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import kombu
import pytest

from events_core.brokers import ExchangeBroker, Subscription
from events_core.envelope import Envelope
from tests.apps.chat import CHAT, Said
from tests.support import processes
from tests.support.waiting import wait_until

QUEUE = "chat.rooms"
BINDING = (CHAT.name, f"{Said.event_kind}.{Said.event_type}")


class Server:
    """One chat server, and what it has heard, also before it was killed."""

    def __init__(self, url: str, heard: Path, *, hang: bool = False, **options: object) -> None:
        self.heard = heard
        env = {"CHAT_BROKER": url, "CHAT_HEARD": str(heard), "CHAT_OPTIONS": json.dumps(options)}
        env["CHAT_HANG"] = "1" if hang else ""
        self.process = processes.start_python("-m", "tests.apps.chat", env=env)
        self.process.wait_for_log(r"^ready\.$")

    @property
    def texts(self) -> list[str]:
        return self.heard.read_text().splitlines()

    def has_heard(self, number: int) -> bool:
        return len(self.texts) >= number

    @property
    def memory(self) -> float:
        """MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


class Mouth:
    """Says something, confirmed."""

    def __init__(self, url: str) -> None:
        self._broker = ExchangeBroker(url)
        self._broker.attach("mouth", lambda: url)

    def declare(self) -> None:
        """Before any server is there, as one that ran earlier would have."""
        self._broker.declare(Subscription(QUEUE, frozenset({BINDING})))

    def say(self, first: int, count: int, more: str = "") -> list[str]:
        texts = [f"{number}{more}" for number in range(first, first + count)]
        for start in range(0, count, 500):
            events = [Said(text=text) for text in texts[start : start + 500]]
            self._broker.publish([self._broker.message(event, Envelope.of(event), CHAT.name) for event in events], 10.0)
        return texts

    def close(self) -> None:
        self._broker.close()


@pytest.fixture
def mouth(broker_url: str) -> Iterator[Mouth]:
    mouth = Mouth(broker_url)
    yield mouth
    mouth.close()


@pytest.mark.chaos
def test_killed_and_restarted_servers_lose_nothing(broker_url: str, mouth: Mouth, tmp_path: Path) -> None:
    """Two share the queue; each is killed once in the middle. What was in hand comes again."""
    one, other = (Server(broker_url, tmp_path / name) for name in ("one", "other"))
    said: list[str] = []
    for victim in (one, other):
        enough = len(victim.texts) + 200
        said += mouth.say(len(said), 3000)
        wait_until(partial(victim.has_heard, enough), what="the victim to be in the middle of it")
        victim.process.kill9()
        assert len({*one.texts, *other.texts}) < len(said)  # so it was
        said += mouth.say(len(said), 500)
        replaced = Server(broker_url, victim.heard)
        one, other = (replaced, other) if victim is one else (one, replaced)
    wait_until(lambda: {*one.texts, *other.texts} >= {*said}, 60, "every text to be heard")
    # Each kill repeats what was unacknowledged in one server: at most its prefetch.
    repeated = sum(count - 1 for count in Counter(one.texts + other.texts).values())
    assert repeated <= 2 * 100


def test_every_instance_hears_everything_by_its_own_queue(broker_url: str, mouth: Mouth, tmp_path: Path) -> None:
    servers = [Server(broker_url, tmp_path / str(number), every_instance=True) for number in range(3)]
    said = mouth.say(0, 1000)
    for server in servers:
        wait_until(partial(server.has_heard, 1000), what="all texts")
        assert server.texts == said


def test_it_ends_in_time_and_another_one_handles_the_rest(broker_url: str, mouth: Mouth, tmp_path: Path) -> None:
    """The handler never returns: it is cancelled after the deadline, and everything is given back at once."""
    hanging = Server(broker_url, tmp_path / "hanging", hang=True)
    said = mouth.say(0, 50)
    hanging.process.signal(signal.SIGTERM)
    assert hanging.process.wait(30) == 0, hanging.process.log
    next_one = Server(broker_url, tmp_path / "next")
    wait_until(partial(next_one.has_heard, 50), what="what was given back")
    assert next_one.texts == said


@pytest.mark.contract
def test_memory_and_what_it_holds_stay_bounded_behind_a_slow_handler(
    broker_url: str, mouth: Mouth, tmp_path: Path
) -> None:
    slow = Server(broker_url, tmp_path / "slow", hang=True, prefetch=50)
    mouth.say(0, 1000, "x" * 2000)
    before = slow.memory
    mouth.say(1000, 19_000, "x" * 2000)  # 40 MB and more, would it read them
    wait_until(lambda: waiting(broker_url) >= 20_000 - 50, what="all but the prefetched to wait on the server")
    assert waiting(broker_url) == 20_000 - 50
    assert slow.memory - before < 15


def waiting(url: str) -> int:
    """Messages of the queue that no consumer holds."""
    with kombu.Connection(url) as connection:
        if url.startswith("amqp"):
            return int(connection.default_channel.queue_declare(QUEUE, passive=True).message_count)
    import redis

    from events_core.transport import keys

    with redis.Redis.from_url(url) as client:
        stream = keys.stream_key("", QUEUE)
        held = sum(group["pending"] for group in client.xinfo_groups(stream))
        return int(client.xlen(stream)) - held
