"""Promise 5: what kills its process becomes a dead letter after at most three starts; what ran beside it does not."""

from __future__ import annotations

import os

import pytest

from tests.chaos.support import Attack, dead_letters
from tests.support import servers
from tests.support.waiting import wait_until

GOOD = int(os.environ.get("CHAOS_GOOD", "500"))
WAYS = ("segfault", "exit", "memory", "system_exit")


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("broker", "pool", "concurrency", "good"),
    [
        pytest.param("amqp_url", "threads", 4, GOOD, id="rabbitmq-threads"),
        pytest.param("amqp_url", "prefork", 2, GOOD, id="rabbitmq-prefork"),
        pytest.param("redis_url", "threads", 4, GOOD // 4, id="redis-threads"),
        pytest.param("redis_url", "prefork", 2, GOOD // 4, id="redis-prefork"),
    ],
)
def test_poison_among_good(
    broker: str,
    pool: str,
    concurrency: int,
    good: int,
    request: pytest.FixtureRequest,
    redis_server: servers.RedisServer,
    redis_url: str,
    system_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """5 each of segfault, os._exit, MemoryError and SystemExit among good events of 0.5 s, a supervisor restarting the
    worker: all 20 are dead after at most 3 starts, all good ones done, none of them dead.
    """
    env = {
        "CHAOS_SYSTEM": system_name,
        "CHAOS_RECORD": redis_url,
        "EVENTS_BROKER_URL": request.getfixturevalue(broker),
        "EVENTS_REDIS_URL": redis_url,
        "CHAOS_CLAIM_AFTER": "3" if broker == "redis_url" else "",
    }
    record = redis_server.client()
    record.connection_pool.connection_kwargs["decode_responses"] = True
    attack = Attack(env, record, pool=pool, concurrency=concurrency)
    system = attack.system(monkeypatch, only=("second", "poisoned"))
    from tests.chaos.app import Happened, Poisoned

    things: list[Happened | Poisoned] = [Happened(number=n, seconds=0.5) for n in range(good)]
    for number in range(20):
        place = attack.random.randrange(len(things))
        things.insert(place, Poisoned(number=number, how=WAYS[number % 4]))
    system.emit_many(things)
    attack.start(1)

    def settled() -> bool:
        attack.restart_the_dead()
        return record.hlen("done:second") + len(dead_letters(system)) >= good + 20

    wait_until(settled, 800, "every delivery to be done or dead")
    dead = dead_letters(system)
    starts = {int(n): int(count) for n, count in record.hgetall("started:poisoned").items()}
    good_starts = sum(int(count) for count in record.hvals("started:second"))
    print(
        f"{pool}: {record.hlen('done:second')} good done with {good_starts} starts, {len(dead)} dead, "
        f"starts of the poisoned {sorted(starts.values())}, the worker ended {len(attack.fallen)} times"
    )
    innocent = [letter for letter in dead if not str(letter.handler).endswith("poisoned")]
    assert not innocent, [(letter.reason, letter.error, letter.starts) for letter in innocent]
    assert len(dead) == 20
    assert record.hlen("done:second") == good
    assert set(starts) == set(range(20))
    assert max(starts.values()) <= 3
    assert all(letter.starts <= 3 for letter in dead)
