"""aemit: never blocks the loop, shares batches, is not withdrawn by cancelling."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from celery import signals

from events_core import DomainEvent, EmitError, EventSystem
from events_core.errors import EventTooLarge, NotAnEvent
from tests.support import processes
from tests.support.broker_queues import envelopes, queue_key
from tests.support.proxy import Proxy
from tests.support.servers import RedisServer
from tests.support.waiting import wait_until


class Happened(DomainEvent, event_type="aemit.happened"):
    number: int = 0
    text: str = ""


class Refused(DomainEvent, event_type="aemit.refused"):
    pass


def handle(event: DomainEvent) -> None: ...


def make(name: str, url: str, **settings: Any) -> EventSystem:
    events = EventSystem(name, broker_url=url, **settings)
    events.bind(Happened, handle, name="happened")
    events.bind(Refused, handle, name="refused", queue=f"{name}.refused")
    return events


@pytest.fixture
def events(broker_url: str, system_name: str) -> Iterator[EventSystem]:
    events = make(system_name, broker_url)
    yield events
    events.close()


def numbers(url: str, events: EventSystem) -> list[int]:
    return [envelope["data"]["number"] for envelope in envelopes(url, events.settings.default_queue)]


@contextmanager
def paused(server: RedisServer) -> Iterator[redis.Redis]:
    """Redis takes no writes until `client_unpause`."""
    with server.client() as client:
        client.client_pause(60_000, all=False)
        try:
            yield client
        finally:
            client.client_unpause()


def batches(client: redis.Redis) -> int:
    """Commands that published more than one message."""
    stats: dict[str, Any] = client.info("commandstats")
    return int(stats.get("cmdstat_eval", {}).get("calls", 0))


class TestEmitting:
    def test_it_returns_what_emit_returns_once_it_is_confirmed(self, events: EventSystem, broker_url: str) -> None:
        """The same deliveries, which are on the queue when it returns."""
        event = Happened(number=1)
        assert asyncio.run(events.aemit(event)) == events.emit(event)
        assert numbers(broker_url, events) == [1, 1]

    def test_many_in_order_beyond_one_chunk(self, events: EventSystem, broker_url: str) -> None:
        """Promise 8, for aemit_many and for calls that are made one after the other."""

        async def run() -> None:
            await events.aemit_many([Happened(number=number) for number in range(1500)])
            await asyncio.gather(*[events.aemit(Happened(number=1500 + number)) for number in range(200)])

        asyncio.run(run())
        assert numbers(broker_url, events) == list(range(1700))

    def test_several_loops_after_one_another(self, events: EventSystem, broker_url: str) -> None:
        """Each asyncio.run is a loop of its own; connections and thread outlive them."""
        for number in range(3):
            asyncio.run(events.aemit(Happened(number=number)))
        assert numbers(broker_url, events) == [0, 1, 2]

    def test_what_is_refused_is_refused_at_once(self, system_name: str) -> None:
        """As with emit, before anything is sent: no broker is needed to learn of it."""
        events = make(system_name, "redis://127.0.0.1:1", max_event_bytes=500)
        with pytest.raises(NotAnEvent):
            asyncio.run(events.aemit("text"))  # type: ignore[arg-type]
        with pytest.raises(EventTooLarge):
            asyncio.run(events.aemit(Happened(text="x" * 1000)))

    def test_receivers_of_signals_find_the_callers_context(self, events: EventSystem, broker_url: str) -> None:
        """Item 4: a tracer reads the current span from the context; in another thread it would find none."""
        span: contextvars.ContextVar[str] = contextvars.ContextVar("span", default="none")
        seen: list[tuple[str, str]] = []

        def before(headers: dict[str, Any], **_: Any) -> None:
            headers["traceparent"] = span.get()

        def after(headers: dict[str, Any], **_: Any) -> None:
            seen.append((span.get(), headers["traceparent"]))

        async def traced(name: str) -> None:
            span.set(name)
            await events.aemit(Happened())

        async def run() -> None:
            await asyncio.gather(traced("one"), traced("two"))

        signals.before_task_publish.connect(before)
        signals.after_task_publish.connect(after)
        try:
            asyncio.run(run())
        finally:
            signals.before_task_publish.disconnect(before)
            signals.after_task_publish.disconnect(after)
        assert sorted(seen) == [("one", "one"), ("two", "two")]


class TestTheLoop:
    def test_it_goes_on_while_the_broker_is_silent(self, broker_url: str, system_name: str) -> None:
        """Promise 1 and Show 6: others run on the loop meanwhile; the error comes within EMIT_TIMEOUT + 1 s."""
        port = urlsplit(broker_url).port
        assert port is not None
        with Proxy(port) as proxy:
            events = make(system_name, broker_url.replace(f":{port}", f":{proxy.port}"), emit_timeout=1)

            async def run() -> tuple[EmitError, int, float]:
                await events.aemit(Happened(number=1))
                proxy.blackhole()
                ticks, started = 0, time.monotonic()
                emitting = asyncio.create_task(events.aemit(Happened(number=2)))
                while not emitting.done():
                    await asyncio.sleep(0.01)
                    ticks += 1
                with pytest.raises(EmitError) as caught:
                    await emitting
                return caught.value, ticks, time.monotonic() - started

            error, ticks, took = asyncio.run(run())
            assert took < 6  # 2 on a machine that is not shared
            assert ticks > 10  # a loop that was blocked would have come to one or two
            assert len(error.uncertain) == 1
            proxy.heal()
            asyncio.run(events.aemit(Happened(number=3)))
            events.close()
        assert numbers(broker_url, events) == [1, 3]

    def test_those_that_wait_behind_a_silent_broker_keep_the_bound_too(self, broker_url: str, system_name: str) -> None:
        """Promise 1 for every caller, not only for the one whose batch is under way."""
        port = urlsplit(broker_url).port
        assert port is not None
        with Proxy(port) as proxy:
            events = make(system_name, broker_url.replace(f":{port}", f":{proxy.port}"), emit_timeout=1)
            proxy.blackhole()

            async def timed(delay: float) -> float:
                await asyncio.sleep(delay)
                started = time.monotonic()
                with pytest.raises(EmitError):
                    await events.aemit(Happened())
                return time.monotonic() - started

            async def run() -> list[float]:
                return await asyncio.gather(*[timed(number / 20) for number in range(40)])

            took = asyncio.run(run())
            assert max(took) < 6  # 2 on a machine that is not shared
            events.close()

    def test_one_alone_behind_a_hung_one_keeps_the_bound_too(self, broker_url: str, system_name: str) -> None:
        """Its time runs from when it was asked for, not from when its turn comes."""
        port = urlsplit(broker_url).port
        assert port is not None
        with Proxy(port) as proxy:
            events = make(system_name, broker_url.replace(f":{port}", f":{proxy.port}"), emit_timeout=3)

            async def run() -> float:
                await events.aemit(Happened(number=1))
                proxy.blackhole()
                hung = asyncio.create_task(events.aemit(Happened(number=2)))
                while not proxy.swallowed:  # until then they could share a batch
                    await asyncio.sleep(0.01)
                started = time.monotonic()
                with pytest.raises(EmitError):
                    await events.aemit(Happened(number=3))
                took = time.monotonic() - started
                with pytest.raises(EmitError):
                    await hung
                return took

            assert asyncio.run(run()) < 3 + 2.5  # at 6 it would have waited for the other one
            events.close()


class TestBatches:
    def test_concurrent_calls_share_batches(self, own_redis_server: RedisServer, system_name: str) -> None:
        """Item 4: what is asked for while one batch is under way goes in the next, all of it together."""
        events = make(system_name, own_redis_server.url(), emit_timeout=30)

        async def run(client: redis.Redis) -> None:
            emitting = [asyncio.create_task(events.aemit(Happened(number=number))) for number in range(200)]
            await asyncio.sleep(0)  # every one of them has handed its messages over
            client.client_unpause()
            await asyncio.gather(*emitting)

        with paused(own_redis_server) as client:
            asyncio.run(run(client))
            assert 1 <= batches(client) <= 2
        events.close()
        assert numbers(own_redis_server.url(), events) == list(range(200))

    def test_one_callers_failure_is_not_the_others(self, own_redis_server: RedisServer, system_name: str) -> None:
        """Each caller of a shared batch learns of its own deliveries only."""
        events = make(system_name, own_redis_server.url(), emit_timeout=30)

        async def run(client: redis.Redis) -> list[Any]:
            mixed = events.aemit_many([Happened(number=2), Refused()])
            calls = [events.aemit(Happened(number=1)), events.aemit(Refused()), mixed, events.aemit(Happened(number=3))]
            emitting = [asyncio.create_task(call) for call in calls]
            await asyncio.sleep(0)
            client.client_unpause()
            return await asyncio.gather(*emitting, return_exceptions=True)

        with own_redis_server.client() as client:
            client.set(queue_key(own_redis_server.url(), f"{system_name}.refused"), "no queue")
        with paused(own_redis_server) as client:
            first, refused, mixed, last = asyncio.run(run(client))
        assert len(first.deliveries) == len(last.deliveries) == 1
        assert isinstance(refused, EmitError)
        assert isinstance(mixed, EmitError)
        assert [len(refused.confirmed), len(refused.unsent)] == [0, 1]
        assert [len(mixed.confirmed), len(mixed.unsent)] == [1, 1]
        events.close()
        assert numbers(own_redis_server.url(), events) == [1, 2, 3]


class TestCancelling:
    def test_it_does_not_withdraw_the_event(self, own_redis_server: RedisServer, system_name: str) -> None:
        """Promise 1: the event arrives although nobody waits for it any more."""
        events = make(system_name, own_redis_server.url(), emit_timeout=30)

        async def run() -> None:
            emitting = [asyncio.create_task(events.aemit(Happened(number=number))) for number in (1, 2)]
            await asyncio.sleep(0)
            for task in emitting:
                task.cancel()
            results = await asyncio.gather(*emitting, return_exceptions=True)
            assert [type(result) for result in results] == [asyncio.CancelledError] * 2

        with paused(own_redis_server):
            asyncio.run(run())
        arrived: list[int] = []

        def both() -> bool:
            arrived.extend(numbers(own_redis_server.url(), events))
            return len(arrived) == 2

        wait_until(both, 30, "both to arrive")
        assert arrived == [1, 2]
        events.emit(Happened(number=3))
        events.close()
        assert numbers(own_redis_server.url(), events) == [3]

    def test_not_even_when_the_process_ends_at_once(
        self, own_redis_server: RedisServer, system_name: str, tmp_path: Path
    ) -> None:
        """The process stays until what was cancelled is out."""
        script = tmp_path / "leaving.py"
        script.write_text(
            "import asyncio, sys\n"
            "from events_core import DomainEvent, EventSystem\n"
            "events = EventSystem(sys.argv[1], broker_url=sys.argv[2], emit_timeout=30)\n"
            "class Happened(DomainEvent, event_type='aemit.happened'):\n    number: int\n"
            "@events.handler(Happened, name='happened')\ndef handle(event): ...\n"
            "async def run():\n"
            "    emitting = [asyncio.create_task(events.aemit(Happened(number=n))) for n in range(3)]\n"
            "    await asyncio.sleep(0)\n"
            "    print('leaving', flush=True)\n"
            "asyncio.run(run())\n"
        )
        with paused(own_redis_server):
            program = processes.start_python(script, system_name, own_redis_server.url())
            program.wait_for_log("leaving")
        assert program.wait() == 0
        sent = [e["data"]["number"] for e in envelopes(own_redis_server.url(), f"{system_name}.events")]
        assert sent == [0, 1, 2]
