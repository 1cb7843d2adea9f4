"""Queues of a broker, looked into from outside: what was published, what waits, what a worker holds.

A broker is named by its URL; ``redis://`` means it as an EventSystem does by default, over Redis Streams.
`stock(url)` names the same Redis under kombu's own transport, whose queues are lists.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import kombu
import redis

import events_core.transport  # noqa: F401  # kombu learns the schemes
from events_core.transport import keys, schemes
from events_core.transport.group import Group
from tests.support.redis_server import connect


def stock(url: str) -> str:
    """The broker of a system with redis_transport="stock", or of a Celery app that keeps kombu's transport."""
    return schemes.with_stock(url)


def kombu_url(url: str) -> str:
    """The broker as kombu names it."""
    return schemes.with_streams(url)


def is_redis(url: str) -> bool:
    """Whether the broker is a Redis, under whichever transport."""
    return schemes.plain(url).startswith("redis")


def queue_key(url: str, queue: str) -> str:
    """On Redis: the key under which the queue's messages of ordinary priority lie."""
    return keys.stream_key("", queue) if schemes.is_streams(kombu_url(url)) else queue


def connection(url: str) -> kombu.Connection:
    """A connection of kombu's."""
    return kombu.Connection(kombu_url(url))


@contextmanager
def channel(url: str) -> Iterator[Any]:
    """A channel to the broker."""
    with connection(url) as opened:
        yield opened.default_channel


def take_all(url: str, queue: str) -> list[kombu.Message]:
    """Takes every message that is in the queue, the oldest first; none where there is no such queue."""
    with channel(url) as open_channel:
        taken = []
        try:
            while (message := open_channel.basic_get(queue, no_ack=True)) is not None:
                # amqp gives its own class here, kombu's virtual transports the right one
                taken.append(message if isinstance(message, kombu.Message) else open_channel.message_to_python(message))
        except Exception as error:  # RabbitMQ closes the channel for a queue that does not exist
            if getattr(error, "code", None) != 404:
                raise
        return taken


def envelopes(url: str, queue: str) -> list[dict[str, Any]]:
    """As `take_all`: the envelopes that the messages carry."""
    return [message.decode()[0][0] for message in take_all(url, queue)]


def length(url: str, queue: str) -> int:
    """Messages of ordinary priority that wait, without those that a worker holds."""
    if not is_redis(url):
        with channel(url) as open_channel:
            return int(open_channel.queue_declare(queue=queue, passive=True).message_count)
    key = queue_key(url, queue)
    with connect(schemes.plain(url)) as client:
        return Group(client).size([key]) if schemes.is_streams(kombu_url(url)) else int(client.llen(key))


def unacknowledged(url: str) -> int:
    """On Redis: messages of all queues that a worker has taken and not acknowledged."""
    with connect(schemes.plain(url)) as client:
        if not schemes.is_streams(kombu_url(url)):
            return int(client.hlen("unacked"))
        return sum(_held(client, key) for key in client.scan_iter(keys.stream_key("", "*"), _type="stream"))


def _held(client: redis.Redis, stream: bytes) -> int:
    if not client.xinfo_groups(stream):
        return 0  # nobody has consumed it yet
    consumers = client.xpending(stream, keys.GROUP)["consumers"]
    return sum(each["pending"] for each in consumers if each["name"] != keys.RETURNED.encode())


def put_raw(url: str, queue: str, body: bytes) -> None:
    """On Redis: the bytes as they are where kombu puts its messages."""
    key = queue_key(url, queue)
    with connect(schemes.plain(url)) as client:
        if schemes.is_streams(kombu_url(url)):
            client.xadd(key, {keys.FIELD: body})
        else:
            client.lpush(key, body)
