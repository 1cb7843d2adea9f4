"""Brokers that restart, connections that break: the bus comes back, says so once, and loses nothing durable."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from urllib.parse import urlsplit

import pytest

from events_core import EmitError
from events_core.brokers import ExchangeBroker, Subscription
from events_core.bus import EventBus, EventHandlerConsumer, IntegrationEventBusRegistration
from tests.apps.chat import CHAT, Said
from tests.support.bus import run, until
from tests.support.proxy import Proxy
from tests.support.rabbitmq_server import RabbitServer
from tests.support.redis_server import RedisServer


@pytest.fixture(
    params=[
        # Restarting RabbitMQ takes tens of seconds.
        pytest.param("own_rabbitmq_server", marks=[pytest.mark.rabbitmq, pytest.mark.contract]),
        pytest.param("own_redis_server", marks=pytest.mark.redis),
    ]
)
def server(request: pytest.FixtureRequest) -> RabbitServer | RedisServer:
    """A broker of this test alone."""
    server: RabbitServer | RedisServer = request.getfixturevalue(request.param)
    return server


async def say(bus: EventBus, *texts: str) -> None:
    """Until it is confirmed, whatever happens to the broker."""
    for text in texts:
        event = Said(text=text)
        while True:
            try:
                await bus.send(CHAT, event)
                break
            except EmitError:
                await asyncio.sleep(0.1)


def rooms(heard: list[str], **options: Any) -> IntegrationEventBusRegistration:
    async def on_said(event: Said) -> None:
        await asyncio.sleep(0.001)
        heard.append(event.text)

    return IntegrationEventBusRegistration(EventHandlerConsumer("rooms", {Said: [on_said]}, **options), CHAT, [Said])


def statistics(bus: EventBus) -> Any:
    (found,) = bus.statistics.values()
    return found


@pytest.mark.parametrize("end", ["restart", "kill"])
def test_a_broker_that_restarts_in_the_middle(
    server: RabbitServer | RedisServer, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing that was confirmed is lost, although it is published and handled while the server goes away."""
    caplog.set_level(logging.INFO, "events_core.bus")
    texts = [str(number) for number in range(1500)]

    def again() -> None:
        (server.kill if end == "kill" else server.stop)()
        server.start()

    async def main() -> None:
        heard: list[str] = []
        async with EventBus(ExchangeBroker(server.url()), "chat") as bus:
            await bus.register(rooms(heard))
            saying = asyncio.create_task(say(bus, *texts))
            await until(lambda: len(heard) > 100)
            await asyncio.to_thread(again)
            await saying
            await until(lambda: {*heard} >= {*texts}, 60, "all texts")
            # whether it has noticed an outage is left open: a client that was just not reading connects again unseen
            await until(lambda: statistics(bus).connected)

    run(main)
    lines = [record.getMessage() for record in caplog.records if record.name == "events_core.bus.outage"]
    lost = [line for line in lines if "trying again" in line]
    assert len(lost) <= 3, lines  # once for each time that it was gone: a server may refuse while it starts
    assert len([line for line in lines if "receives again" in line]) == len(lost)


def test_an_own_queue_is_heard_again_after_a_restart(server: RabbitServer | RedisServer) -> None:
    async def main() -> None:
        heard: list[str] = []
        async with EventBus(ExchangeBroker(server.url()), "chat") as bus:
            await bus.register(rooms(heard, every_instance=True))
            await say(bus, "before")
            await until(lambda: heard == ["before"])
            await asyncio.to_thread(server.restart)
            await until(lambda: statistics(bus).outages and statistics(bus).connected)
            await say(bus, "after")
            await until(lambda: "after" in heard)

    run(main)


def through(proxy: Proxy, url: str) -> str:
    return url.replace(f":{urlsplit(url).port}/", f":{proxy.port}/")


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


def test_connections_that_break_again_and_again(broker_url: str) -> None:
    texts = [str(number) for number in range(600)]

    async def main() -> None:
        heard: list[str] = []
        with Proxy(port_of(broker_url)) as proxy:
            async with EventBus(ExchangeBroker(through(proxy, broker_url)), "chat") as bus:
                await bus.register(rooms(heard))
                for start in range(0, 600, 100):
                    await say(bus, *texts[start : start + 50])
                    proxy.cut()
                    await say(bus, *texts[start + 50 : start + 100])
                await until(lambda: {*heard} >= {*texts}, 60, "all texts")

    run(main)


class Counting(ExchangeBroker):
    """Counts how often the bus begins anew."""

    begun = 0

    def declare(self, subscription: Subscription, obsolete: frozenset[tuple[str, str]] = frozenset()) -> None:
        self.begun += 1
        super().declare(subscription, obsolete)


@pytest.mark.contract  # the intervals grow to seconds
def test_without_a_server_it_is_tried_at_growing_intervals(broker_url: str) -> None:
    async def main() -> None:
        heard: list[str] = []
        with Proxy(port_of(broker_url)) as proxy:
            broker = Counting(through(proxy, broker_url))
            async with EventBus(broker, "chat") as bus:
                await bus.register(rooms(heard))
                proxy.close()
                await until(lambda: not statistics(bus).connected)
                await until(lambda: broker.begun >= 8)
                began = asyncio.get_running_loop().time()
                await until(lambda: broker.begun >= 9)
                assert asyncio.get_running_loop().time() - began > 0.5  # at the beginning it was 0.1 s

    run(main)


def test_a_shutdown_in_a_black_hole_ends(broker_url: str) -> None:
    async def main() -> None:
        heard: list[str] = []
        with Proxy(port_of(broker_url)) as proxy:
            async with EventBus(ExchangeBroker(through(proxy, broker_url)), "chat") as bus:
                await bus.register(rooms(heard))
                await say(bus, "before")
                await until(lambda: heard == ["before"])
                proxy.blackhole()

    run(main, 60)


def test_registering_while_the_broker_is_away_is_an_error_and_works_afterwards(own_redis_server: RedisServer) -> None:
    async def main() -> None:
        heard: list[str] = []
        async with EventBus(ExchangeBroker(own_redis_server.url()), "chat") as bus:
            own_redis_server.kill()
            with pytest.raises(OSError):
                await bus.register(rooms(heard))
            own_redis_server.start()
            await bus.register(rooms(heard))
            await say(bus, "hello")
            await until(lambda: heard == ["hello"])

    run(main)
