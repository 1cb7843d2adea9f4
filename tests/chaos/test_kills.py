"""Promise 2 under SIGKILL: every acknowledged emit ends as done or dead, whatever dies."""

from __future__ import annotations

import os
import threading

import pytest

from tests.chaos.support import Attack
from tests.support import servers

EVENTS = int(os.environ.get("CHAOS_EVENTS", "5000"))


def _attack(env: dict[str, str], record: servers.RedisServer | servers.GivenRedis) -> Attack:
    client = record.client()
    client.connection_pool.connection_kwargs["decode_responses"] = True
    return Attack(env, client)


@pytest.mark.chaos
@pytest.mark.timeout(800)
def test_workers_killed_on_rabbitmq(
    amqp_url: str, redis_server: servers.RedisServer, redis_url: str, system_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """5,000 events, 2 handlers each, a worker SIGKILLed every 2 s, at least 10 times: nothing is lost."""
    attack = _attack(_env(system_name, amqp_url, redis_url, redis_url), redis_server)
    system = attack.system(monkeypatch)
    attack.start(2)
    with attack.killing(every=2.0, at_least=10):
        attack.emit(system, range(EVENTS))
        attack.wait_for_all(system, 240)
    attack.wait_for_all(system, 240)
    print(attack.report(system))
    assert len(attack.emitted) == EVENTS
    assert attack.kills >= 10
    assert not attack.missing(system)


@pytest.mark.chaos
@pytest.mark.timeout(800)
def test_rabbitmq_killed(
    own_rabbitmq_server: servers.RabbitServer,
    redis_server: servers.RedisServer,
    redis_url: str,
    system_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """RabbitMQ itself is SIGKILLed and restarted 3 times while events are emitted and handled: nothing is lost."""
    attack = _attack(_env(system_name, own_rabbitmq_server.url(), redis_url, redis_url), redis_server)
    system = attack.system(monkeypatch)
    attack.start(2)
    _emit_while(attack, system, own_rabbitmq_server, times=3)
    attack.wait_for_all(system, 240)
    print(attack.report(system))
    assert len(attack.emitted) + attack.refused == EVENTS
    assert not attack.missing(system)


@pytest.mark.chaos
@pytest.mark.timeout(800)
def test_redis_killed(
    own_redis_server: servers.RedisServer,
    redis_server: servers.RedisServer,
    redis_url: str,
    system_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Redis, broker and coordination, is SIGKILLed and restarted 3 times with its append-only file: nothing is lost."""
    own = own_redis_server.url(0)
    attack = _attack(_env(system_name, own, own, redis_url) | {"CHAOS_CLAIM_AFTER": "5"}, redis_server)
    system = attack.system(monkeypatch)
    attack.start(2)
    pids = [worker.pid for worker in attack.workers]
    _emit_while(attack, system, own_redis_server, times=3)
    attack.wait_for_all(system, 240)
    print(attack.report(system))
    assert [worker.pid for worker in attack.workers] == pids, "a worker did not live through it"
    assert len(attack.emitted) + attack.refused == EVENTS
    assert not attack.missing(system)


@pytest.mark.chaos
@pytest.mark.timeout(800)
def test_workers_killed_on_redis(
    own_redis_server: servers.RedisServer,
    redis_server: servers.RedisServer,
    redis_url: str,
    system_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """5,000 events, 2 handlers each, a worker SIGKILLed every 2 s, at least 10 times: nothing is lost."""
    own = own_redis_server.url(0)
    attack = _attack(_env(system_name, own, own, redis_url) | {"CHAOS_CLAIM_AFTER": "3"}, redis_server)
    system = attack.system(monkeypatch)
    attack.start(2)
    with attack.killing(every=2.0, at_least=10):
        attack.emit(system, range(EVENTS))
        attack.wait_for_all(system, 240)
    attack.wait_for_all(system, 240)
    print(attack.report(system))
    assert len(attack.emitted) == EVENTS
    assert attack.kills >= 10
    assert not attack.missing(system)


def _emit_while(attack: Attack, system: object, server: servers.RabbitServer | servers.RedisServer, times: int) -> None:
    """Emit everything, with the server killed and restarted so often in the meantime."""
    emitting = threading.Thread(target=attack.emit, args=(system, range(EVENTS), 10))
    emitting.start()
    for part in range(1, times + 1):
        while emitting.is_alive() and len(attack.emitted) + attack.refused < EVENTS * part // (times + 1):
            emitting.join(0.01)
        server.kill()
        server.start()
    emitting.join()


def _env(system: str, broker: str, coordination: str, record: str) -> dict[str, str]:
    return {
        "CHAOS_SYSTEM": system,
        "CHAOS_RECORD": record,
        "EVENTS_BROKER_URL": broker,
        "EVENTS_REDIS_URL": coordination,
    }
