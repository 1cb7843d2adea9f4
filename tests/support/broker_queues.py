"""Queues of a broker as plain kombu sees them: what was published, without any code of the project."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import kombu


@contextmanager
def channel(url: str) -> Iterator[Any]:
    """A channel of kombu's own to the broker at `url`."""
    with kombu.Connection(url) as connection:
        yield connection.default_channel


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
