"""Deliveries on their way to be parked before the pool has them.

On RabbitMQ, and in Redis's lists, they are messages like others. In Redis Streams they are recognized when they have
been read, and neither decoded nor counted by the prefetch window before it is known that they do not wait.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from celery import Task
from celery.bootsteps import RUN
from celery.exceptions import InvalidTaskError

from events_core.handler_options import GRANTED
from events_core.transport.channel import Channel
from events_core.transport.delivering import message as decoded
from events_core.transport.reading import Read
from events_core.transport.streams import Transport
from events_worker.limits.parking import Arrival, Parking, is_new
from events_worker.run import Run
from events_worker.tasks.line import run_of
from events_worker.tasks.opening import open_message
from events_worker.tasks.telling import WAITS

logger = logging.getLogger(__name__)

#: A guess: whoever decodes the message sees whether it holds.
_TASK = re.compile(rb'"task": ?"([^"\\]+)"')


class Sifter:
    """Takes those out of what one Celery consumer reads from Redis Streams. See `events_core.transport.aside.Sift`."""

    def __init__(self, consumer: Any) -> None:
        self.consumer = consumer
        self._handlers: dict[bytes, tuple[Task, Parking]] = {}
        self._parkings: set[Parking] = set()

    def add(self, task: Task, parking: Parking) -> None:
        """Take out that handler's."""
        self._handlers[task.name.encode()] = task, parking
        self._parkings.add(parking)

    @property
    def room(self) -> int:
        """See `Sift.room`."""
        return min(parking.room for parking in self._parkings)

    def __call__(self, channel: Channel, found: list[Read]) -> list[Read]:
        """See `Sift`."""
        names = [_name_in(read) for read in found]
        numbers = Counter(names)
        return [
            read for read, name in zip(found, names, strict=True) if not self._takes(channel, read, name, numbers[name])
        ]

    def _takes(self, channel: Channel, read: Read, name: bytes, number: int) -> bool:
        if name not in self._handlers:
            return False
        task, parking = self._handlers[name]
        if not parking.wants(task.name, number):
            return False
        tag, _, raw, _ = read
        channel.aside.put(read)
        parking.put(
            Arrival(
                size=len(raw),
                reads_on=True,
                read=partial(_run_of, task, channel, read),
                acknowledge=partial(channel.aside.acknowledge, tag),
                waits=partial(_tell_flower, task, self.consumer.event_dispatcher),
                go_on=partial(channel.aside.deliver, tag),
            )
        )
        return True


def sifter_of(consumer: Any) -> Sifter | None:
    """That of the consumer's present connection; None if that is none to Redis Streams."""
    transport = consumer.connection.transport
    if not isinstance(transport, Transport):
        return None
    if not isinstance(transport.sift, Sifter) or transport.sift.consumer is not consumer:
        transport.sift = Sifter(consumer)
    return transport.sift


def _name_in(read: Read) -> bytes:
    """The handler of a new message that was not granted; of all others nothing."""
    _, queue, raw, in_vain = read
    found = None if in_vain is not None or queue.endswith(GRANTED) else _TASK.search(raw)
    return b"" if found is None else found[1]


def _run_of(task: Task, channel: Channel, read: Read) -> Run | None:
    if not channel.aside.begin(read[0]):
        return None
    message = channel.Message(decoded(channel, read), channel=channel)
    open_message(message)
    return run_of(task, message) if message.headers.get("task") == task.name and is_new(message.headers) else None


def arrival_of(task: Task, consumer: Any, message: Any, ack: Any, run: Callable[[], Any]) -> Arrival:
    """A message like others. ack: acknowledges it. run: lets the pool run it."""

    def begin() -> None:
        if consumer.blueprint.state == RUN:  # else the worker ends, and gives back what it has not begun
            guarded(consumer, message, run)

    return Arrival(
        size=len(message.body),
        reads_on=False,
        read=lambda: run_of(task, message),
        acknowledge=lambda: ack(logger, consumer.connection_errors),
        waits=partial(_tell_flower, task, consumer.event_dispatcher),
        go_on=lambda: consumer.call_soon(begin),
    )


def guarded(consumer: Any, message: Any, run: Callable[[], Any]) -> None:
    """Run it as Celery's own handler of messages does."""
    try:
        run()
    except InvalidTaskError as error:
        consumer.on_invalid_task(None, message, error)


def _tell_flower(task: Task, dispatcher: Any, run: Run) -> None:
    """What Celery tells of a task that comes, and is retried."""
    if dispatcher is None or not dispatcher.enabled or not task.send_events:
        return
    headers = run.headers
    shown = {"args": headers.get("argsrepr"), "kwargs": headers.get("kwargsrepr"), "retries": headers.get("retries")}
    links = {"root_id": headers.get("root_id"), "parent_id": headers.get("parent_id"), "eta": None, "expires": None}
    dispatcher.send("task-received", uuid=headers["id"], name=task.name, **shown, **links)
    dispatcher.send("task-retried", uuid=headers["id"], exception=repr(WAITS), traceback="")
