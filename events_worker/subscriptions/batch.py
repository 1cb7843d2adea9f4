"""Some messages of one queue: what they become, before any of it is stored or sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from events_core import EventSystem
from events_core.brokers.base import Format, Received
from events_core.envelope import Envelope
from events_core.publishing.messages import Message
from events_core.receiving import Accepted, Refused, Skipped, Wanted, decoded, examine
from events_core.subscribers import SubscribedQueue
from events_worker.dead_letters import DeadLetter
from events_worker.subscriptions.deliveries import deliveries, delivery_to_stranger, gates, letter_to, raw_letter
from events_worker.subscriptions.neighbours import Neighbours


class Batch:
    """What some messages become. counts: for the tally.

    letters: of deliveries, and of what is none. messages: deliveries, in the order of the events. doubtful: what cannot
    be handled here, but maybe by a neighbour. unasked: the type of a message that was skipped.
    """

    def __init__(self, received: Sequence[Received]) -> None:
        self.received = received
        self.messages: list[Message] = []
        self.letters: list[DeadLetter] = []
        self.doubtful: list[tuple[Received, Skipped | Refused]] = []
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
        self._who_wants = lru_cache(maxsize=1024)(queue.who_wants)
        self._max_bytes = system.settings.max_event_bytes
        self._neighbours = neighbours
        self._takes_all = takes_all

    def sort(self, received: Sequence[Received]) -> Batch:
        """What they become, but for the doubtful ones, which `decide` is for."""
        batch = Batch(received)
        for message in received:
            verdict = self._look(message)
            if isinstance(verdict, Accepted):
                self._deliver(batch, message, verdict)
            elif isinstance(verdict, Refused) and verdict.envelope is None:
                self._bury(batch, message, verdict)
            else:
                batch.doubtful.append((message, verdict))
        return batch

    def _look(self, message: Received) -> Accepted | Skipped | Refused:
        if self._takes_all and message.type and message.type not in self._wanted:
            return Skipped("nobody here asked for its type", message.type)  # and no matter what else it is
        return examine(message, self._format, self._wanted, self._max_bytes)

    def decide(self, batch: Batch) -> None:
        """What the doubtful ones become, by what neighbours ask for now: they must have been heard after it came."""
        for message, verdict in batch.doubtful:
            if isinstance(verdict, Refused):
                self._refuse(batch, message, verdict)
            elif not self._neighbours.strangers(message.topic, verdict.type):
                self._skip(batch, verdict.type)
            else:
                envelope = decoded(message, self._format, self._max_bytes)
                if isinstance(envelope, Refused):
                    self._bury(batch, message, envelope)
                elif not self._deliver_to_strangers(batch, message, envelope):
                    self._skip(batch, envelope.type)

    def _deliver(self, batch: Batch, message: Received, accepted: Accepted) -> None:
        envelope, event = accepted.envelope, accepted.event
        specs = [subscriber.spec for subscriber in self._who_wants(envelope.type, message.topic)]
        batch.counts["delivered"] += len(specs)
        for spec, delivery in zip(specs, deliveries(self._system, specs, envelope, event), strict=True):
            delivery.gates = gates(spec, event)
            batch.messages.append(delivery)
        if not self._deliver_to_strangers(batch, message, envelope) and not specs:
            self._skip(batch, envelope.type)

    def _deliver_to_strangers(self, batch: Batch, message: Received, envelope: Envelope) -> int:
        strangers = self._neighbours.strangers(message.topic, envelope.type)
        for asked in strangers:
            kind = asked.routing_key.partition(".")[0]
            batch.messages.append(
                delivery_to_stranger(asked, replace(envelope, kind=kind, version=envelope.version or asked.version))
            )
        batch.counts["delivered"] += len(strangers)
        return len(strangers)

    def _refuse(self, batch: Batch, message: Received, refused: Refused) -> None:
        """Strangers may be able to read it. So may the same handler in a newer worker, where the version is unknown
        here: its delivery is held until that takes it.
        """
        envelope = refused.envelope
        assert envelope is not None
        found = self._deliver_to_strangers(batch, message, envelope)
        letters = []
        for subscriber in self._who_wants(envelope.type, message.topic):
            found += 1
            spec = subscriber.spec
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
