"""examples/two_services while one service is killed and killed again, and the broker between them too."""

from __future__ import annotations

import os
import random
import re
from pathlib import Path

import pytest

from examples.two_services.ledger import FOLDER
from tests.chaos.support import seed
from tests.support.processes import Process
from tests.support.servers import RabbitServer, RedisServer
from tests.support.two_services import Services
from tests.support.waiting import wait_until

ORDERS = int(os.environ.get("CHAOS_ORDERS", "2000"))
KILLS = 8


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_on_rabbitmq(
    own_rabbitmq_server: RabbitServer, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2,000 orders, shipping SIGKILLed 8 times, RabbitMQ stopped or killed 3 times, and started again: none lost."""
    monkeypatch.setenv(FOLDER, str(tmp_path))
    _attack(Services(own_rabbitmq_server.url(), redis_url, tmp_path), own_rabbitmq_server, {1: 1, 3: 1, 6: 1})


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_on_redis(own_redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same on one Redis with its append-only file, which is the broker of all of them and coordinates, too. It is
    back in no time, and restarted 24 times.
    """
    monkeypatch.setenv(FOLDER, str(tmp_path))
    url = own_redis_server.url()
    _attack(Services(url, url, tmp_path), own_redis_server, dict.fromkeys(range(KILLS), 3))


def _attack(services: Services, server: RabbitServer | RedisServer, restarts: dict[int, int]) -> None:
    """Kill shipping while orders come in, at moments that the seed chooses.

    restarts: how often the broker is stopped or killed, and started again, after which of the kills.
    """
    chance = random.Random(seed())
    services.start("orders", "shipping", "mail")
    lasting = {name: services.workers[name] for name in ("orders", "mail")}
    placings: list[Process] = []
    for number in range(KILLS):
        portion = range(number * ORDERS // KILLS + 1, (number + 1) * ORDERS // KILLS + 1)
        placings.append(services.place(portion[0], portion[-1]))
        placings[-1].wait_for_log(rf"^placed {chance.choice(portion[: len(portion) // 2])}$", 120)
        services.kill("shipping")
        for _ in range(restarts.get(number, 0)):
            _wait_for_letters(services, chance.randrange(5), placings)
            chance.choice([server.stop, server.kill])()
            server.start()
        services.start("shipping")
    assert [placing.wait(300) for placing in placings] == [0] * KILLS
    try:
        services.wait_for_all(ORDERS, 240)
    finally:
        again = sum(len(re.findall("^order ", placing.log, re.MULTILINE)) for placing in placings)
        print(
            services.report(ORDERS),
            f"the broker restarted {sum(restarts.values())} times, {again} orders had to be emitted again",
        )
        for worker in services.workers.values():
            if services.missing(ORDERS):
                print(f"--- {worker.name} alive={worker.alive}\n{worker.log[-6000:]}")
    assert services.kills == KILLS
    assert [worker.alive for worker in lasting.values()] == [True, True], "a service did not live through it"


def _wait_for_letters(services: Services, number: int, placings: list[Process]) -> None:
    """Until mail, which goes on, has written so many more; or there are no more to be written."""
    owed = len(services.letters.values()) + number
    wait_until(
        lambda: len(services.letters.values()) >= owed or not any(placing.alive for placing in placings),
        60,
        "mail to be at work",
    )
