"""The coordination Redis loses everything while deliveries are parked there: issue 4, item 7."""

from __future__ import annotations

from pathlib import Path

import pytest

from events_core.coordination import Coordination
from events_worker.limits.overview import parked_count, waiting_at
from tests.support.admission import PREFIX
from tests.support.bank import bank_at, began, done, transfer
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until


@pytest.mark.parametrize("how", ["flushed", "lost"])
@pytest.mark.contract  # workers notice it after seconds
def test_workers_say_what_is_lost_and_go_on(
    tmp_path: Path, redis_url: str, own_redis_server: RedisServer, how: str
) -> None:
    """The broker is another Redis, which keeps all that it has."""
    server = own_redis_server
    bank = bank_at(tmp_path, redis_url, server.url())
    worker = bank.worker()
    transfer(bank, 2)
    wait_until(lambda: began(bank) == 2, what="two to run")
    transfer(bank, 4)

    def parked() -> tuple[int, list[int]]:
        with server.client() as client:
            kept = Coordination(client, PREFIX)
            return parked_count(kept), waiting_at(kept, ["limit:bank|"])

    wait_until(lambda: parked() == (4, [4]), what="four to be parked")
    with server.client() as client:
        first = client.get(f"{PREFIX}gates:epoch")
    sweeps_at_rest(server)
    if how == "flushed":
        server.empty()
    else:
        server.lose_everything()
        server.start()
    wait_until(lambda: "the coordination Redis was emptied" in worker.log, what="the worker to say so")
    assert "4 deliveries that were parked there are lost" in worker.log
    with server.client() as client:
        assert client.get(f"{PREFIX}gates:epoch") not in (None, first)
    (bank.folder / "go").touch()
    wait_until(lambda: done(bank) == 2, what="those that ran to come to their end")
    transfer(bank, 3)
    wait_until(lambda: done(bank) == 5, 60, "what was emitted afterwards to be done")
    assert worker.alive
    assert worker.log.count("the coordination Redis was emptied") == 1


def sweeps_at_rest(server: RedisServer) -> None:
    """Waits until the worker has looked again: what it remembers is what is there now."""

    def sweeps() -> int:
        with server.client() as client:
            return int(client.info("commandstats")["cmdstat_evalsha"]["calls"])

    before = sweeps()
    wait_until(lambda: sweeps() >= before + 8, what="some more looks of the worker")
