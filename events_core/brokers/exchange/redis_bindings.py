"""Bindings of queues to topics on Redis, where kombu's Redis transports keep and read them.

``_kombu.binding.{topic}``: a set of routing key, regular expression and queue, joined by kombu's separator;
``_kombu.binding_permanent.{topic}``: those of them that belong to lasting queues. Ours beside them:
``streams:topics:{queue}``: the topics that a queue was ever bound to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import redis
from kombu.transport import redis as stock
from kombu.transport.virtual.exchange import TopicExchange

from events_core.brokers.base import Subscription
from events_core.errors import ConfigurationError, EmitError
from events_core.publishing.redis_pipeline import RedisPipeline
from events_core.transport import keys

#: Milliseconds that a consumer's own queue waits for it to come back.
OWN_QUEUE_EXPIRES = 30_000
#: Seconds that a declaration may wait for Redis.
_PATIENCE = 2.0

# KEYS: a consumer's own queue. ARGV: group, its lifetime in milliseconds. It exists from now on, for so long.
_OWN = """
redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""

_separator: str = stock.Channel.sep
_pattern_of: Any = TopicExchange(None).key_to_pattern


class Bound(NamedTuple):
    """One binding of a topic, as it lies in Redis. lasting: else the queue goes with its consumer."""

    queue: str
    routing_key: str
    pattern: str
    member: bytes
    lasting: bool

    def takes(self, routing_key: str) -> bool:
        """Whether the queue gets what is published with this routing key."""
        return _compiled(self.pattern).match(routing_key) is not None


class Bindings:
    """Reads and writes them. prefix: kombu's `global_keyprefix`."""

    def __init__(self, pipeline: RedisPipeline, prefix: str) -> None:
        self.prefix = prefix
        self._pipeline = pipeline

    def declare(self, subscription: Subscription, obsolete: Iterable[tuple[str, str]]) -> None:
        """The queue has these bindings from now on, and no others."""
        self.add(subscription)
        asked = subscription.bindings
        (known,) = self._ask([("SMEMBERS", self._topics(subscription.queue))])
        topics = sorted({topic.decode() for topic in known} | {topic for topic, _ in {*asked, *obsolete}})
        tables = self._ask([("SMEMBERS", self.table(topic)) for topic in topics])
        commands: list[tuple[Any, ...]] = []
        for topic, table in zip(topics, tables, strict=True):
            own = [bound for bound in bindings_in(table, ()) if bound.queue == subscription.queue]
            gone = [bound.member for bound in own if (topic, bound.routing_key) not in asked]
            if gone:
                commands += self.removal(topic, gone)
        abandoned = {*topics} - {topic for topic, _ in asked}
        if abandoned:
            commands.append(("SREM", self._topics(subscription.queue), *sorted(abandoned)))
        self._ask(commands)

    def add(self, subscription: Subscription) -> None:
        """The queue has these bindings from now on, whatever others it has."""
        commands: list[tuple[Any, ...]] = []
        if not subscription.lasting:
            stream = self.stream(subscription.queue)
            commands.append(("EVAL", _OWN, 1, stream, keys.GROUP, OWN_QUEUE_EXPIRES))
        for topic in sorted({topic for topic, _ in subscription.bindings}):
            members = sorted(
                _member(routing_key, subscription.queue) for of, routing_key in subscription.bindings if of == topic
            )
            if subscription.lasting:  # first: to who reads in between, one that is not is a consumer's own
                commands.append(("SADD", self._permanent(topic), *members))
            commands.append(("SADD", self.table(topic), *members))
            if subscription.lasting:
                commands.append(("SADD", self._topics(subscription.queue), topic))
        self._ask(commands)

    def are_lost(self, subscription: Subscription) -> bool:
        """Whether what keeps a lasting queue's bindings has gone, rather than one that somebody has unbound."""
        topics = sorted({topic for topic, _ in subscription.bindings})
        tables = [("EXISTS", key) for topic in topics for key in (self.table(topic), self._permanent(topic))]
        known, *exist = self._ask([("SMEMBERS", self._topics(subscription.queue)), *tables])
        both = dict(zip(topics, zip(exist[::2], exist[1::2], strict=True), strict=True))
        return not known or any(topic.encode() in known and not all(both[topic]) for topic in topics)

    def delete(self, subscription: Subscription) -> None:
        """The queue, with its bindings and all that waits in it, is gone."""
        self.declare(Subscription(subscription.queue, frozenset()), subscription.bindings)
        queue = subscription.queue
        steps = [f"{self.stream(queue)}{_separator}{step}" for step in stock.Channel.priority_steps if step]
        self._ask([("DEL", self.stream(queue), self._topics(queue), *steps)])

    def check(self) -> None:
        """Raises what connecting does."""
        self._ask([("PING",)])

    def reading(self, topics: Iterable[str]) -> list[tuple[Any, ...]]:
        """The commands that read the bindings of topics; see `bindings_in`, which takes two replies for each."""
        return [("SMEMBERS", key) for topic in topics for key in (self.table(topic), self._permanent(topic))]

    def removal(self, topic: str, members: Sequence[bytes]) -> list[tuple[Any, ...]]:
        """The commands that remove bindings."""
        return [("SREM", self.table(topic), *members), ("SREM", self._permanent(topic), *members)]

    def stream(self, queue: str) -> str:
        """The stream of a queue."""
        return keys.stream_key(self.prefix, queue)

    def table(self, topic: str) -> str:
        """The key of a topic's bindings."""
        return f"{self.prefix}{stock.Channel.keyprefix_queue % (topic,)}"

    def _permanent(self, topic: str) -> str:
        return f"{self.prefix}{stock.Channel.keyprefix_binding_permanent % (topic,)}"

    def _topics(self, queue: str) -> str:
        return f"{self.prefix}streams:topics:{queue}"

    def _ask(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        if not commands:
            return []
        try:
            return self._pipeline.publish(commands, [()] * len(commands), _PATIENCE)
        except EmitError as error:
            if isinstance(error.__cause__, redis.AuthenticationError):
                raise ConfigurationError(error.reason) from error
            raise ConnectionError(error.reason) from error


def bindings_in(table: Iterable[bytes], permanent: Iterable[bytes]) -> Iterator[Bound]:
    """The bindings in a topic's two sets; what is none, and was put there by somebody, is left out."""
    lasting = {*permanent}
    for member in table:
        parts = member.decode("utf-8", "replace").split(_separator)
        if len(parts) == 3 and parts[2] and _is_pattern(parts[1]):
            yield Bound(parts[2], parts[0], parts[1], member, member in lasting)


def _member(routing_key: str, queue: str) -> bytes:
    return _separator.join((routing_key, _pattern_of(routing_key), queue)).encode()


def _is_pattern(text: str) -> bool:
    try:
        _compiled(text)
    except re.error:
        return False
    return True


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
