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
from events_core.receiving import Accepted, Refused, Skipped, Wanted, examine, format_of
from events_core.subscribers import SubscribedQueue
from events_worker.dead_letters import DeadLetter
from events_worker.subscriptions.deliveries import deliveries, delivery_to_stranger, gates, letter_to, raw_letter
from events_worker.subscriptions.neighbours import Neighbours


class Batch:
    """What some messages become. counts: for the tally.

    letters: of deliveries, and of what is none. messages: deliveries, in the order of the events. skipped: those that
    nobody here asked for.
    """

    def __init__(self, received: Sequence[Received]) -> None:
        self.received = received
        self.messages: list[Message] = []
        self.letters: list[DeadLetter] = []
        self.skipped: list[Received] = []
        self.counts: Counter[str] = Counter(received=len(received))


class Sorter:
    """Decides for one queue what its messages become. Touches no network."""

    def __init__(self, system: EventSystem, queue: SubscribedQueue, fmt: Format, neighbours: Neighbours) -> None:
        self._system = system
        self._name = queue.name
        self._format = fmt
        self._wanted: Wanted = queue.wanted
        self._who_wants = lru_cache(maxsize=1024)(queue.who_wants)
        self._max_bytes = system.settings.max_event_bytes
        self._neighbours = neighbours

    def sort(self, received: Sequence[Received]) -> Batch:
        """What they become. Before the skipped ones are left out, `leave_out` must have its say."""
        batch = Batch(received)
        for message in received:
            verdict = examine(message, self._format, self._wanted, self._max_bytes)
            if isinstance(verdict, Accepted):
                self._deliver(batch, message, verdict)
            elif isinstance(verdict, Refused):
                self._refuse(batch, message, verdict)
            elif isinstance(verdict, Skipped):
                batch.skipped.append(message)
        return batch

    def _deliver(self, batch: Batch, message: Received, accepted: Accepted) -> None:
        envelope, event = accepted.envelope, accepted.event
        specs = [subscriber.spec for subscriber in self._who_wants(envelope.type, message.topic)]
        batch.counts["delivered" if specs else "skipped"] += len(specs) or 1
        for spec, delivery in zip(specs, deliveries(self._system, specs, envelope, event), strict=True):
            delivery.gates = gates(spec, event)
            batch.messages.append(delivery)
        self._deliver_to_strangers(batch, message, envelope)

    def leave_out(self, batch: Batch) -> None:
        """Nobody here asks for the skipped ones; a neighbour may."""
        for message in batch.skipped:
            if not self._neighbours.strangers(message.topic, message.routing_key):
                batch.counts["skipped"] += 1
                continue
            envelope = format_of(message, self._format).decode(message)  # as it was, to see its type
            envelope.kind = message.routing_key.partition(".")[0]
            self._deliver_to_strangers(batch, message, envelope)

    def _deliver_to_strangers(self, batch: Batch, message: Received, envelope: Envelope) -> None:
        for asked in self._neighbours.strangers(message.topic, message.routing_key):
            known = envelope if envelope.version else replace(envelope, version=asked.version)
            batch.messages.append(delivery_to_stranger(asked, known))
            batch.counts["delivered"] += 1

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
