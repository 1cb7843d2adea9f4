"""brokers-bus: our bus beside FastStream's RabbitMQ subscriber, and its memory behind a slow handler."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO

import kombu

from benchmarks.apps.bus import KEY, PREFETCH, THEIR_TOPIC, TOPIC, Said
from benchmarks.rounds import alternate
from benchmarks.stage import Broker, Stage
from benchmarks.table import Report, Row, Target
from events_core.brokers import ExchangeBroker, Subscription
from events_core.envelope import Envelope
from tests.support.processes import ROOT, child_env
from tests.support.waiting import wait_until

NUMBER = 10_000
#: Behind a handler that does not return: so many before the first look at memory, and before the second.
FIRST, LAST = 1_000, 50_000
CHUNK = 1000
SLOW = 3600.0


def run(stage: Stage) -> Report:
    """RabbitMQ: events that wait in a durable queue, a no-op handler, acknowledged after it."""
    effort = stage.effort
    broker = stage.rabbitmq()
    with ExitStack() as ends:
        sides = [ends.enter_context(_Side(broker, "ours", "cloudevents", TOPIC))]
        sides.append(ends.enter_context(_Side(broker, "faststream", "flat", THEIR_TOPIC)))
        number = effort.times(NUMBER)
        ours, theirs = alternate(effort.rounds(7), [partial(side.measure, number) for side in sides])
    first, last = max(effort.times(FIRST), 2 * PREFETCH), effort.times(LAST)
    before, after = _memory(stage.rabbitmq(), first, last)
    return Report(
        "brokers-bus: an asyncio application that hears integration events, from RabbitMQ",
        [
            Row("no-op handler", "/s", *_column(ours, theirs, "rate"), "FastStream", target=Target("≥", 1)),
            Row("processor time of one", "µs", *_column(ours, theirs, "cpu"), "FastStream"),
            Row(
                "memory behind a slow handler", "MiB", [after], [before],
                f"{first:,} waiting", target=Target("≤", 1.1),
            ),
        ],
        [
            f"Both: {PREFETCH} prefetched, one process, asyncio's own loop. From 10 to 90 % of what waited there.",
            "Ours: CloudEvents, decoded into the event's class, one after another. FastStream: plain JSON, as a dict.",
            f"Memory: resident set while {last:,} wait on the server, each of 2 kB.",
        ],
    )  # fmt: skip


def _column(ours: list[dict[str, float]], theirs: list[dict[str, float]], name: str) -> tuple[list[float], list[float]]:
    return [figures[name] for figures in ours], [figures[name] for figures in theirs]


class _Side:
    """A process that receives, and the queue that it receives from."""

    def __init__(self, broker: Broker, name: str, format: str, topic: str, *seconds: str) -> None:
        self.queue, self._topic, self._url = f"bench.{name}", topic, broker.url
        self._broker = ExchangeBroker(broker.url, format=format)  # type: ignore[arg-type]
        self._broker.attach("bench", lambda: broker.url)
        self._broker.declare(Subscription(self.queue, frozenset({(topic, KEY)})))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.apps.bus", name, broker.url, *seconds],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=child_env(broker.env),
            cwd=ROOT,
            text=True,
        )

    def __enter__(self) -> _Side:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(30)
        self._broker.close()

    def publish(self, number: int, text: str) -> None:
        """So many, confirmed."""
        for start in range(0, number, CHUNK):
            events = [Said(room="lobby", author="ann", text=text) for _ in range(min(CHUNK, number - start))]
            messages = [self._broker.message(event, Envelope.of(event), self._topic) for event in events]
            self._broker.publish(messages, 10.0)

    def begin(self, number: int) -> None:
        """Let it receive so many."""
        pipe = self._process.stdin
        assert pipe is not None
        print(number, file=pipe, flush=True)

    def measure(self, number: int) -> dict[str, float]:
        """What it prints about so many that wait."""
        self.publish(number, "hello there, how are you?")
        self.begin(number)
        pipe: IO[str] | None = self._process.stdout
        assert pipe is not None
        answer = pipe.readline()
        if not answer:
            raise RuntimeError(f"the receiving process ended ({self._process.wait(30)})")
        figures: dict[str, float] = json.loads(answer)
        return figures

    @property
    def waiting(self) -> int:
        """Messages that are with no consumer."""
        with kombu.Connection(self._url) as connection:
            return int(connection.default_channel.queue_declare(self.queue, passive=True).message_count)

    @property
    def memory(self) -> float:
        """MiB that it holds."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def _memory(broker: Broker, first: int, last: int) -> tuple[float, float]:
    """MiB while `first` messages wait behind a handler that does not return, and while `last` do."""
    found = []
    with _Side(broker, "ours", "cloudevents", TOPIC, str(SLOW)) as side:
        side.begin(last)
        for number, already in ((first, 0), (last, first)):
            side.publish(number - already, "x" * 2000)
            wait_until(lambda: side.waiting <= number - PREFETCH, 60, "the consumer to hold what it may")  # noqa: B023
            found.append(side.memory)
    return found[0], found[1]
