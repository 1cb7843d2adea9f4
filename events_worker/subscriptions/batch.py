"""Some messages of one queue: what they become, before any of it is stored or sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from events_core import EventSystem
from events_core.brokers.base import Format, Received
from events_core.publishing.messages import Message
from events_core.receiving import Accepted, Refused, Skipped, Wanted, examine
from events_core.subscribers import SubscribedQueue
from events_worker.dead_letters import DeadLetter
from events_worker.subscriptions.deliveries import deliveries, gates, letter_to, raw_letter


class Batch:
    """What some messages become. counts: for the tally.

    letters: of deliveries, and of what is none. messages: deliveries, in the order of the events.
    """

    def __init__(self, received: Sequence[Received]) -> None:
        self.received = received
        self.messages: list[Message] = []
        self.letters: list[DeadLetter] = []
        self.counts: Counter[str] = Counter(received=len(received))


class Sorter:
    """Decides for one queue what its messages become. Touches no network."""

    def __init__(self, system: EventSystem, queue: SubscribedQueue, fmt: Format) -> None:
        self._system = system
        self._name = queue.name
        self._format = fmt
        self._wanted: Wanted = queue.wanted
        self._who_wants = lru_cache(maxsize=1024)(queue.who_wants)
        self._max_bytes = system.settings.max_event_bytes

    def sort(self, received: Sequence[Received]) -> Batch:
        """What they become."""
        batch = Batch(received)
        for message in received:
            verdict = examine(message, self._format, self._wanted, self._max_bytes)
            if isinstance(verdict, Accepted):
                self._deliver(batch, message, verdict)
            elif isinstance(verdict, Refused):
                self._refuse(batch, message, verdict)
            elif isinstance(verdict, Skipped):
                batch.counts["skipped"] += 1
        return batch

    def _deliver(self, batch: Batch, message: Received, accepted: Accepted) -> None:
        envelope, event = accepted.envelope, accepted.event
        specs = [subscriber.spec for subscriber in self._who_wants(envelope.type, message.topic)]
        batch.counts["delivered" if specs else "skipped"] += len(specs) or 1
        for spec, delivery in zip(specs, deliveries(self._system, specs, envelope, event), strict=True):
            delivery.gates = gates(spec, event)
            batch.messages.append(delivery)

    def _refuse(self, batch: Batch, message: Received, refused: Refused) -> None:
        if refused.envelope is None:
            batch.letters.append(raw_letter(self._name, message, refused))
        else:
            concerned = self._who_wants(refused.envelope.type, message.topic)
            if not concerned:
                batch.counts["skipped"] += 1
                return
            for subscriber in concerned:
                batch.letters.append(letter_to(self._system, subscriber.spec, refused.envelope, refused))
        batch.counts[refused.reason] += 1
