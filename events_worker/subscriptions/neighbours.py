"""The other workers on a queue: during a deploy some know subscribers that others do not.

What one of them has bound is not unbound by another; and whoever takes a message makes the deliveries of all of them.
One to a subscriber that a worker does not know is held until a worker comes that does.

A worker that is not there may come back, and what comes meanwhile is for it: what it asked for counts for as long as
deliveries to it are held (UNKNOWN_GRACE), unless those that are there ask for all of it too. Where none of them was
there before it went, they are a deployment that has replaced it, and what they do not ask for is unbound at once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from events_core import EventSystem
from events_core.brokers.base import LONGEST_NAME
from events_core.coordination import Coordination
from events_core.events import defined
from events_core.subscribers import SubscribedQueue
from events_worker.subscriptions.keys import name_of_this_process, neighbours_key

#: Seconds between two times that a worker says what it asks for, and hears what others do.
_EVERY = 5.0
#: Seconds after which one that did not say so is away.
_AWAY_AFTER = 20.0


class Asked(NamedTuple):
    """A handler's wish for one type of events. queue: of its deliveries. version: of the class that it asked with, for
    events that tell none. newest: the newest version that its worker knows.

    Later releases may add fields at the end, and leave none out: those of others are read in the middle of a deploy.
    """

    topic: str
    routing_key: str
    handler: str
    queue: str
    version: int
    aliases: tuple[str, ...] = ()
    newest: int = 0

    @property
    def names(self) -> frozenset[str]:
        """By all of these deliveries reach it."""
        return frozenset((self.handler, *self.aliases))


class _Said(NamedTuple):
    """A worker's last word. at, since: of it, and of its first; by Redis's clock, in seconds since the epoch."""

    at: float
    since: float
    asked: list[Asked]
    left: bool = False


def asked_for(system: EventSystem, queue: SubscribedQueue) -> list[Asked]:
    """What the subscribers of a queue ask for."""
    return sorted(
        Asked(
            topic,
            f"{event.event_kind}.{event.event_type}",
            subscriber.spec.name,
            system.messages.queue_of(subscriber.spec),
            event.version,
            subscriber.spec.aliases,
            max([event.version, *(version for known, version in [*defined] if known == event.event_type)]),
        )
        for subscriber in queue.subscribers
        for event, topic in subscriber.topics.items()
    )


class Neighbours:
    """Those of one worker on one queue. Used by one thread; raises redis.RedisError.

    grace: seconds for which the wishes of those that are away are kept.
    """

    def __init__(self, coordination: Coordination, queue: str, mine: Iterable[Asked], grace: float) -> None:
        self._client = coordination.client
        self._key = neighbours_key(coordination, queue)
        self._me = name_of_this_process()
        self._mine = list(mine)
        self._kept = max(grace, _AWAY_AFTER)
        self._said_at: float | None = None
        self._since: float | None = None  # by Redis's clock
        self._patient_until = 0.0
        self._wishes: dict[str, list[Asked]] = {}  # by type of event
        #: Where anybody hears anything, this worker or another.
        self.topics = frozenset(wish.topic for wish in self._mine)
        #: The topics and routing keys that others ask for, as far as was heard.
        self.bindings: frozenset[tuple[str, str]] = frozenset()

    def strangers(self, topic: str, event_type: str) -> list[Asked]:
        """The handlers that ask for it, and do not here, by none of their names, each once.

        topic: where the event came from; as of `SubscribedQueue.who_wants`, one that nobody bound tells nothing.
        """
        mine = self._of_topic([wish for wish in self._mine if _type(wish) == event_type], topic)
        found, known = [], frozenset(name for wish in mine for name in wish.names)
        for wish in self._asking(topic, event_type):
            if not wish.names & known:
                found.append(wish)
                known |= wish.names
        return found

    def who_knows(self, names: Collection[str], topic: str, event_type: str, version: int) -> Asked | None:
        """A worker's wish for a handler that is known here by one of these names, if there it knows that version."""
        for wish in self._asking(topic, event_type):
            if _knows(wish) >= version and wish.names.intersection(names):
                return wish
        return None

    def _asking(self, topic: str, event_type: str) -> list[Asked]:
        return self._of_topic(self._wishes.get(event_type, []), topic)

    def _of_topic(self, wishes: list[Asked], topic: str) -> list[Asked]:
        return [wish for wish in wishes if wish.topic == topic] if topic in self.topics else wishes

    def refresh(self, *, now: bool = False) -> None:
        """Say what this worker asks for, and hear what others do, if that is due, or now."""
        at = time.monotonic()
        since = at - self._said_at if self._said_at is not None else _EVERY
        if not now and since < _EVERY:
            return
        if since > _AWAY_AFTER:  # Redis was away, or this process: the others are to have their say first
            self._patient_until = at + _AWAY_AFTER
        self._say()
        self.hear()
        self._said_at = at

    def leave(self) -> None:
        """This worker ends in order: others need not wait to see whether it is still there."""
        self._say(left=True)

    def _say(self, **more: bool) -> None:
        now = _seconds(self._client.time())
        self._since = self._since or now
        said = {"at": now, "since": self._since, "asked": self._mine, **more}
        self._client.hset(self._key, self._me, json.dumps(said))

    def hear(self) -> None:
        """Hear what others ask for now, in one round trip."""
        with self._client.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.hgetall(self._key)
            now, said = pipe.execute()
        read = {worker: _read(text) for worker, text in said.items() if worker != self._me}
        others = {worker: other for worker, other in read.items() if other is not None}
        gone = self._gone(_seconds(now), others)
        if gone:
            self._client.hdel(self._key, *gone)
        self._keep([wish for worker, other in others.items() if worker not in gone for wish in other.asked])

    def _gone(self, now: float, others: dict[str, _Said]) -> list[str]:
        """Those that are away and will not come back, or whose place others have taken."""
        ages = {worker: abs(now - other.at) for worker, other in others.items()}
        kept = self._kept if time.monotonic() >= self._patient_until else float("inf")
        away = {worker for worker, other in others.items() if other.left or not ages[worker] <= _AWAY_AFTER}
        there = [others[worker] for worker in others.keys() - away]
        began = min([now if self._since is None else self._since, *(other.since for other in there)])
        known: dict[tuple[str, str, str], int] = {}
        for wish in (*self._mine, *(wish for other in there for wish in other.asked)):
            for place in _places(wish):
                known[place] = max(_knows(wish), known.get(place, 0))

        def replaced(other: _Said) -> bool:
            if other.at <= began and kept < float("inf"):
                return True
            return all(known.get((w.topic, w.routing_key, w.handler), -1) >= _knows(w) for w in other.asked)

        return [worker for worker in away if not ages[worker] <= kept or replaced(others[worker])]

    def _keep(self, wishes: list[Asked]) -> None:
        self.bindings = frozenset((wish.topic, wish.routing_key) for wish in wishes)
        self.topics = frozenset(wish.topic for wish in (*self._mine, *wishes))
        self._wishes = {}
        # The name that most of them know first: of a handler that was renamed its old one.
        for wish in sorted({*wishes}, key=lambda wish: (len(wish.aliases), wish.handler, -_knows(wish))):
            self._wishes.setdefault(_type(wish), []).append(wish)


def _type(wish: Asked) -> str:
    return wish.routing_key.partition(".")[2]


def _knows(wish: Asked) -> int:
    return max(wish.version, wish.newest)


def _places(wish: Asked) -> list[tuple[str, str, str]]:
    return [(wish.topic, wish.routing_key, name) for name in wish.names]


def _seconds(redis_time: tuple[Any, Any]) -> float:
    return float(redis_time[0]) + float(redis_time[1]) / 1e6


def _read(text: str) -> _Said | None:
    """What a worker said, as far as this release can read it."""
    try:
        said = json.loads(text)
        asked = [wish for one in said["asked"] if (wish := _wish(one)) is not None]
        return _Said(float(said["at"]), float(said.get("since") or 0.0), asked, left=said.get("left") is True)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def _wish(one: Any) -> Asked | None:
    if not isinstance(one, list) or len(one) < 5 or type(one[4]) is not int:
        return None
    aliases = one[5] if len(one) > 5 and isinstance(one[5], list) else []
    names = [*one[:4], *aliases]
    if not all(isinstance(name, str) and name for name in names):
        return None
    try:
        sizes = [len(name.encode()) for name in names]
    except UnicodeEncodeError:  # JSON may hold lone surrogates
        return None
    topic, routing_key, handler, queue, version = one[:5]
    newest = one[6] if len(one) > 6 and type(one[6]) is int else 0
    wish = Asked(topic, routing_key, handler, queue, version, tuple(aliases), newest)
    return wish if max(sizes[:2]) <= LONGEST_NAME else None
