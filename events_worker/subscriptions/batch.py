"""Some messages of one queue: what they become, before any of it is stored or sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from events_core import EventSystem
from events_core.brokers.base import Format, Received
from events_core.envelope import Envelope
from events_core.handlers import HandlerSpec
from events_core.publishing.messages import Message
from events_core.receiving import Accepted, Refused, Skipped, Wanted, decoded, examine
from events_core.subscribers import SubscribedQueue
from events_worker.dead_letters import DeadLetter
from events_worker.subscriptions.deliveries import deliveries, delivery_to_stranger, gates, letter_to, raw_letter
from events_worker.subscriptions.neighbours import Neighbours


class Batch:
    """What some messages become. counts: for the tally.

    letters: of deliveries, and of what is none. messages: deliveries, in the order of the events. unasked: the type of
    one that was skipped.
    """

    def __init__(self, received: Sequence[Received]) -> None:
        self.received = received
        self.messages: list[Message] = []
        self.letters: list[DeadLetter] = []
        self.unasked = ""
        self.counts: Counter[str] = Counter(received=len(received))


class Sorter:
    """Decides for one queue what its messages become. Touches no network.

    takes_all: whether the queue gets everything of its topics, and not what it is bound to alone.
    """

    def __init__(
        self,
        system: EventSystem,
        queue: SubscribedQueue,
        fmt: Format,
        neighbours: Neighbours,
        *,
        takes_all: bool = False,
    ) -> None:
        self._system = system
        self._name = queue.name
        self._format = fmt
        self._wanted: Wanted = queue.wanted
        self._topics = frozenset(topic for topic, _ in queue.bindings)
        self._who_wants = lru_cache(maxsize=1024)(queue.who_wants)
        self._max_bytes = system.settings.max_event_bytes
        self._neighbours = neighbours
        self._takes_all = takes_all

    def sort(self, received: Sequence[Received]) -> Batch:
        """What they become, by what neighbours ask for: they must have been heard after these came."""
        batch = Batch(received)
        for message in received:
            verdict = self._look(message)
            if isinstance(verdict, Accepted):
                self._deliver(batch, message, verdict)
            elif isinstance(verdict, Skipped):
                self._pass_on(batch, message, verdict)
            elif verdict.envelope is None:
                self._bury(batch, message, verdict)
            else:
                self._refuse(batch, message, verdict, verdict.envelope)
        return batch

    def _look(self, message: Received) -> Accepted | Skipped | Refused:
        if self._takes_all and message.type and message.type not in self._wanted:
            return Skipped("nobody here asked for its type", message.type)  # and no matter what else it is
        return examine(message, self._format, self._wanted, self._max_bytes)

    def _specs(self, event_type: str, topic: str) -> list[HandlerSpec]:
        """The handlers here that want it. A topic that only neighbours hear is theirs."""
        if topic not in self._topics and topic in self._neighbours.topics:
            return []
        return [subscriber.spec for subscriber in self._who_wants(event_type, topic)]

    def _deliver(self, batch: Batch, message: Received, accepted: Accepted) -> None:
        envelope, event = accepted.envelope, accepted.event
        specs = self._specs(envelope.type, message.topic)
        batch.counts["delivered"] += len(specs)
        for spec, delivery in zip(specs, deliveries(self._system, specs, envelope, event), strict=True):
            delivery.gates = gates(spec, event)
            batch.messages.append(delivery)
        if not self._deliver_to_strangers(batch, message, envelope, accepted.unversioned) and not specs:
            self._skip(batch, envelope.type)

    def _pass_on(self, batch: Batch, message: Received, skipped: Skipped) -> None:
        """Nobody here asks for it; a neighbour may."""
        if not self._neighbours.strangers(message.topic, skipped.type):
            self._skip(batch, skipped.type)
            return
        envelope = decoded(message, self._format, self._max_bytes)
        if isinstance(envelope, Refused):
            self._bury(batch, message, envelope)
        elif not self._deliver_to_strangers(batch, message, envelope, unversioned=not envelope.version):
            self._skip(batch, envelope.type)

    def _deliver_to_strangers(self, batch: Batch, message: Received, envelope: Envelope, unversioned: bool) -> int:
        strangers = self._neighbours.strangers(message.topic, envelope.type)
        for asked in strangers:
            kind = asked.routing_key.partition(".")[0]
            version = asked.version if unversioned else envelope.version
            batch.messages.append(delivery_to_stranger(asked, replace(envelope, kind=kind, version=version)))
        batch.counts["delivered"] += len(strangers)
        return len(strangers)

    def _refuse(self, batch: Batch, message: Received, refused: Refused, envelope: Envelope) -> None:
        """Strangers may be able to read it. So may the same handler in a newer worker, where the version is unknown
        here: its delivery is held until that takes it.
        """
        found = self._deliver_to_strangers(batch, message, envelope, refused.unversioned)
        letters = []
        for spec in self._specs(envelope.type, message.topic):
            found += 1
            names = {spec.name, *spec.aliases}
            asked = None
            if refused.reason == "unknown_event":
                asked = self._neighbours.who_knows(names, message.topic, envelope.type, envelope.version)
            if asked is None:
                letters.append(letter_to(self._system, spec, envelope, refused))
            else:  # by the name that both know
                name = asked.handler if asked.handler in names else spec.name
                batch.messages.append(delivery_to_stranger(asked._replace(handler=name), envelope))
                batch.counts["delivered"] += 1
        batch.letters += letters
        batch.counts[refused.reason] += bool(letters)
        if not found:
            self._skip(batch, envelope.type)

    def _bury(self, batch: Batch, message: Received, refused: Refused) -> None:
        batch.letters.append(raw_letter(self._name, message, refused))
        batch.counts[refused.reason] += 1

    def _skip(self, batch: Batch, event_type: str) -> None:
        batch.counts["skipped"] += 1
        batch.unasked = event_type
