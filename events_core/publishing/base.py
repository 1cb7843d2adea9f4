"""What every publisher promises, and the deadline each publish keeps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol, TypeVar

from events_core.errors import EmitError
from events_core.publishing.messages import Carried, Message

#: At most so many messages share one deadline and one wait for confirmation.
CHUNK = 1000


class Publisher(Protocol):
    """Hands messages to the broker. Thread-safe and fork-safe; connects on first use."""

    def publish(self, messages: Sequence[Message], timeout: float) -> None:
        """Publish at most `CHUNK` messages, in order; return when the broker has confirmed every one.

        timeout: seconds for everything: waiting for a connection, connecting, declaring, sending, confirming.
        Raises EmitError, which tells what is confirmed, uncertain and unsent; nothing is sent after it.
        """
        ...

    def close(self) -> None:
        """Close the connections. The publisher can be used again."""
        ...


M = TypeVar("M", bound=Carried)
M_contra = TypeVar("M_contra", bound=Carried, contravariant=True)


class Publishes(Protocol[M_contra]):
    """What publishes a chunk: a `Publisher` its Celery messages, a message broker its integration events."""

    def publish(self, messages: Sequence[M_contra], timeout: float) -> None: ...


class Deadline:
    """A moment until which everything must be done."""

    __slots__ = ("_end", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left. Raises TimeoutError when none are."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"no answer within {self.seconds:g} s")
        return left


def publish_in_chunks(publisher: Publishes[M], messages: Sequence[M], timeout: float) -> None:
    """Publish any number of messages, a chunk and a deadline at a time; EmitError speaks of all of them."""
    if len(messages) <= CHUNK:
        publisher.publish(messages, timeout)
        return
    for start in range(0, len(messages), CHUNK):
        try:
            publisher.publish(messages[start : start + CHUNK], timeout)
        except EmitError as error:
            raise type(error)(
                error.reason,
                confirmed=[m.delivery for m in messages[:start]] + error.confirmed,
                uncertain=error.uncertain,
                unsent=error.unsent + [m.delivery for m in messages[start + CHUNK :]],
            ) from error


def unsent(reason: str, messages: Sequence[Carried]) -> EmitError:
    """An EmitError for messages of which nothing was sent."""
    return EmitError(reason, unsent=[message.delivery for message in messages])
