"""What the benchmarks of the publishing side share."""

from __future__ import annotations

from uuid import uuid4

from benchmarks.apps import ours, plain
from benchmarks.apps.ours import Placed, envelope_of
from benchmarks.sides import Ours, Plain
from benchmarks.stage import Broker


def three() -> Placed:
    """An event with three handlers."""
    return Placed(order_id=uuid4())


class Emitting:
    """Our system and a plain Celery app on one broker. To be used in a `with` statement, which closes both.

    Nothing consumes: `drop` deletes what has been published.
    """

    def __init__(self, broker: Broker, *, confirmed: bool = True) -> None:
        self._broker = broker
        self._ours = Ours(broker)
        self._plain = Plain(broker, confirmed=confirmed)
        self.system = self._ours.system
        self.app = self._plain.app
        self.envelope = envelope_of("noop")
        self._task = self.app.tasks["plain.noop"]

    def __enter__(self) -> Emitting:
        self.system.emit(three())
        self.delay()
        return self

    def __exit__(self, *_: object) -> None:
        self._ours.close()
        self._plain.close()

    def many(self, number: int) -> None:
        """Make and emit that many events with three handlers each."""
        self.system.emit_many([three() for _ in range(number)])

    def delay(self) -> None:
        """Plain Celery: one task."""
        self._task.delay(self.envelope)

    def drop(self) -> None:
        """Delete what has been published by all sides."""
        self._broker.drop(ours.QUEUE, plain.QUEUE)
