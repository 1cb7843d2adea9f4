"""The transport over Redis Streams under SIGKILL of workers, of Redis and of connections, for a plain Celery app."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest
import redis
from kombu.exceptions import OperationalError

from tests.chaos.transport_support import CLAIM_AFTER, Plain, Worker
from tests.support import servers
from tests.support.waiting import wait_until

#: Of all pools together.
TASKS = int(os.environ.get("TRANSPORT_TASKS", "20000"))
POOLS = {"solo": (1, 6), "threads": (4, 5), "prefork": (2, 5)}  # concurrency, how often a worker is killed
REDIS_KILLS = 10

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]


@pytest.fixture
def record(redis_server: servers.RedisServer | servers.GivenRedis) -> redis.Redis:
    client = redis_server.client()
    client.connection_pool.connection_kwargs["decode_responses"] = True
    return client


@pytest.fixture
def plain(own_redis_server: servers.RedisServer, record: redis.Redis, redis_url: str) -> Plain:
    return Plain(own_redis_server, record, redis_url)


@pytest.fixture
def durable_redis_server() -> Iterator[servers.RedisServer]:
    """What it has answered is in its file. With `everysec`, a busy disk lets an answer go out before that."""
    server = servers.own_redis()
    yield server
    server.close()


@pytest.mark.parametrize("pool", POOLS)
def test_workers_killed(plain: Plain, pool: str) -> None:
    """Two workers, of which one that is at work is SIGKILLed again and again: nothing is lost."""
    held = _kill_workers(plain, pool)
    account = plain.account(range(TASKS // len(POOLS)))
    print(f"streams, {pool}: {account}, at most {account.kills * held} may")
    assert account.kills == POOLS[pool][1]
    assert not account.lost
    assert account.duplicates <= account.kills * held


@pytest.mark.parametrize("pool", POOLS)
def test_workers_killed_on_the_stock_transport(plain: Plain, pool: str) -> None:
    """The same on kombu's own transport, which may lose what a worker was just popping: the account shows it."""
    plain.scheme = "redis"
    held = _kill_workers(plain, pool)
    account = plain.account(range(TASKS // len(POOLS)))
    print(f"stock, {pool}: {account}")
    assert account.kills == POOLS[pool][1]
    assert len(account.lost) <= account.kills * held


def _kill_workers(plain: Plain, pool: str) -> int:
    """Run the tasks with workers dying; returns how many messages a worker holds at most."""
    concurrency, kills = POOLS[pool]
    plain.prefetch = 8
    tasks = TASKS // len(POOLS)
    plain.publish("plain.run", range(tasks), seconds=0.001 * concurrency)
    workers = [plain.worker(pool, concurrency) for _ in range(2)]
    seen = 0
    for _ in range(kills):
        # so that there is always work left for the next to be killed at, and each lives for another time
        seen += plain.random.randrange(tasks // (kills + 1) // 2, tasks // (kills + 1))
        plain.wait_for(seen, "runs")
        victim = plain.random.choice(wait_until(lambda: _at_work(plain, workers), 60, "a worker at work"))
        workers[victim].process.kill9()
        plain.kills += 1
        seen = plain.record.llen("runs")
        workers[victim] = plain.worker(pool, concurrency)
    wait_until(lambda: not plain.left(), 120, "every message to be acknowledged")
    if plain.scheme == "redis":  # a message that is nowhere may be in the hands of a worker that records it next
        quiet = plain.quiet(CLAIM_AFTER)
        wait_until(lambda: next(quiet), 60, "the workers to have nothing to do")
    assert all(worker.process.alive for worker in workers)
    return plain.prefetch * concurrency + concurrency


def _at_work(plain: Plain, workers: list[Worker]) -> list[int]:
    """Which of the workers have run something lately."""
    lately = {name for _, name in plain.runs(start=-100)}
    return [at for at, worker in enumerate(workers) if worker.name in lately]


def test_redis_killed(durable_redis_server: servers.RedisServer, record: redis.Redis, redis_url: str) -> None:
    """Redis is SIGKILLed 10 times under publishing and consuming: nothing is lost, both workers go on within 5 s."""
    plain = Plain(durable_redis_server, record, redis_url)
    workers = [
        plain.worker("threads", 4, log="INFO", ready=True),
        plain.worker("prefork", 2, log="INFO", ready=True),
    ]
    publisher = Publisher(plain)
    publisher.start()
    resumed = []
    for _ in range(REDIS_KILLS):
        publisher.wait_for_more(plain.random.randrange(20, 300))
        plain.server.kill()
        plain.kills += 1
        plain.server.start()
        start, newest = time.monotonic(), publisher.number
        for worker in workers:
            _wait_for_new(plain, worker, newest)
        resumed.append(time.monotonic() - start)
    publisher.stop()
    wait_until(lambda: not plain.left(), 60, "every message to be acknowledged")
    account = plain.account(publisher.acknowledged)
    print(f"Redis killed: {account}; {publisher.refused} publishes refused")
    print("seconds until both workers consumed again:", *(f"{seconds:.1f}" for seconds in resumed))
    assert all(worker.process.alive for worker in workers)
    assert not account.lost
    assert max(resumed) <= 5


def _wait_for_new(plain: Plain, worker: Worker, newest: int) -> None:
    """Wait until the worker has run what was published after `newest`: not only what it had in its hands."""

    def runs() -> bool:
        return any(name == worker.name and number > newest for number, name in plain.runs(start=-500))

    wait_until(runs, 60, f"{worker.name} to consume again")


@pytest.mark.parametrize(("restarted", "reconnected"), [("threads", "prefork"), ("prefork", "solo")])
def test_long_tasks_run_once(plain: Plain, restarted: str, reconnected: str) -> None:
    """Tasks of three times the claim time; one worker is restarted, the other loses its connections again and again."""
    plain.prefetch = 2
    slots = {"solo": 1, "threads": 2, "prefork": 2}
    first, second = (plain.worker(pool, slots[pool], log="INFO", ready=True) for pool in (restarted, reconnected))
    running = first.concurrency + second.concurrency
    tasks = range(2 * running)
    plain.publish("plain.hold", tasks, seconds=3 * CLAIM_AFTER)
    plain.wait_for(running, "begun")
    third = plain.worker(restarted, first.concurrency)
    first.process.signal(signal.SIGTERM)
    cut = 0
    while (runs := plain.record.llen("runs")) < len(tasks):
        cut += _cut(plain, second)
        plain.wait_for(runs + 1, "runs")
    wait_until(lambda: not plain.left(), 30, "every message to be acknowledged")
    begun = Counter(number for number, _ in plain.runs("begun"))
    account = plain.account(tasks)
    workers = Counter(name for _, name in plain.runs())
    print(f"{restarted} restarted, {reconnected} cut off {cut} connections: {account}; {dict(workers)}")
    assert first.process.wait() == 0
    assert second.process.alive
    assert third.process.alive
    assert cut > 0
    assert begun == dict.fromkeys(tasks, 1)
    assert not account.lost


def _cut(plain: Plain, worker: Worker) -> int:
    """CLIENT KILL of every connection that the worker has to its broker; returns how many."""
    with plain.server.client() as client:
        known = {entry["addr"] for entry in client.client_list()}
        addresses = worker.client_addresses(plain.server.port) & known
        return sum(bool(client.client_kill_filter(addr=address)) for address in addresses)


class Publisher(threading.Thread):
    """Publishes tasks one by one until it is stopped; keeps those that Redis acknowledged."""

    def __init__(self, plain: Plain) -> None:
        super().__init__(daemon=True)
        self.number = 0
        self.acknowledged: set[int] = set()
        self.refused = 0
        self._plain = plain
        self._end = threading.Event()

    def run(self) -> None:
        while not self._end.wait(0.003):  # a pace that the workers keep up with
            self.number += 1
            try:
                self._plain.app.send_task("plain.run", (self.number, 0.005), retry=False)
            except OperationalError:
                self.refused += 1
            else:
                self.acknowledged.add(self.number)

    def wait_for_more(self, count: int) -> None:
        """Wait until so many more tasks have been acknowledged."""
        owed = len(self.acknowledged) + count
        wait_until(lambda: len(self.acknowledged) >= owed, 60, f"{owed} tasks to be published")

    def stop(self) -> None:
        self._end.set()
        self.join()
