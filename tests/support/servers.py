"""The real servers that tests run against, and how each is found.

In this order: a URL in the environment, a binary on this machine, Debian's package (as root). Otherwise the test is
skipped with the reason, or fails where EVENTS_TEST_REQUIRE_SERVERS=1.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.finding import find
from tests.support.missing import missing
from tests.support.rabbitmq_server import GivenRabbit, RabbitServer
from tests.support.redis_server import GivenRedis, RedisServer, has_functions

__all__ = [
    "GivenRabbit",
    "GivenRedis",
    "RabbitServer",
    "RedisServer",
    "own_rabbitmq",
    "own_redis",
    "shared_rabbitmq",
    "shared_redis",
    "used",
]

REDIS_URL = "EVENTS_TEST_REDIS_URL"
AMQP_URL = "EVENTS_TEST_AMQP_URL"
# Debian's command on PATH is a wrapper that changes user and folder; the program itself lies here.
RABBITMQ_FOLDERS = (Path("/usr/lib/rabbitmq/bin"),)

used: list[str] = []
"""Each server that tests ran against, for the summary at the end."""


def own_redis(more_config: str = "") -> RedisServer:
    """A started redis-server that this process may kill, restart and empty.

    It writes before it answers. With everysec it answers up to two seconds before, while the disk is busy with an
    fsync; killed then, it has lost what it confirmed.

    Args:
        more_config: further lines of its redis.conf.
    """
    found = find("redis-server", "redis-server")
    if found is None:
        missing("no redis-server: install it (Debian: apt-get install redis-server)")
    server = RedisServer(found, f"appendfsync always\n{more_config}")
    server.start()
    _note("redis", server)
    return server


def own_redis_without_functions() -> RedisServer:
    """As `own_redis`, of any version, and it knows FUNCTION and FCALL as little as a Redis before 7."""
    server = own_redis()
    if not has_functions(server.version):
        return server
    server.close()
    return own_redis('rename-command FUNCTION ""\nrename-command FCALL ""\n')


def own_rabbitmq() -> RabbitServer:
    """A started rabbitmq-server that this process may kill and restart."""
    found = find("rabbitmq-server", "rabbitmq-server", RABBITMQ_FOLDERS)
    if found is None:
        missing("no rabbitmq-server: install it (Debian: apt-get install rabbitmq-server)")
    server = RabbitServer(found)
    server.start()
    _note("rabbitmq", server)
    return server


def shared_redis() -> RedisServer | GivenRedis:
    """The Redis that the tests of a run share."""
    url = os.environ.get(REDIS_URL)
    if not url:
        return own_redis("appendfsync everysec\n")  # nobody kills it
    given = GivenRedis(url, REDIS_URL)
    _note("redis", given)
    return given


def shared_rabbitmq() -> RabbitServer | GivenRabbit:
    """The RabbitMQ that the tests of a run share."""
    url = os.environ.get(AMQP_URL)
    if not url:
        return own_rabbitmq()
    given = GivenRabbit(url, AMQP_URL)
    _note("rabbitmq", given)
    return given


def _note(kind: str, server: RedisServer | RabbitServer | GivenRedis | GivenRabbit) -> None:
    line = f"{kind} {server.version}: {server.how}"
    if line not in used:
        used.append(line)
