"""What to do with a message from a message broker: the one decision for workers and asyncio applications alike.

Nothing in such a message is trusted. Its type is looked up among the classes that were subscribed to, and nowhere else:
a forged one reaches neither a domain event nor its handlers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from events_core.brokers.base import Format, Received
from events_core.catalog import path_from
from events_core.envelope import Envelope
from events_core.errors import InvalidEnvelope, UnknownEventType, UnknownEventVersion
from events_core.events import Event, IntegrationEvent

#: The classes subscribed to on one queue, by event type.
Wanted = Mapping[str, Sequence[type[IntegrationEvent]]]
#: Why a message is refused: too large; no event at all; it does not fit its class, or an upcaster failed; its version
#: is not known here.
Refusal = Literal["oversize", "undecodable", "invalid", "unknown_event"]

#: What it is, whatever format the broker has. https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
_CLOUDEVENTS = "application/cloudevents"


@dataclass(frozen=True, slots=True)
class Accepted:
    """An event that was asked for. envelope: as it was written, with the version that its sender named, or the newest
    one asked for where it named none (`unversioned`).
    """

    envelope: Envelope
    event: IntegrationEvent
    unversioned: bool = False


@dataclass(frozen=True, slots=True)
class Skipped:
    """An event of a type that nobody on this queue asked for. type: that, from the message."""

    reason: str
    type: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """What cannot be handled. error: without the values. envelope, unversioned: as of an accepted one, where its type
    was asked for.
    """

    reason: Refusal
    error: str
    error_type: str
    envelope: Envelope | None = None
    unversioned: bool = False


def examine(received: Received, fmt: Format, wanted: Wanted, max_bytes: int) -> Accepted | Skipped | Refused:
    """What the message is. Raises nothing for what stands in it.

    fmt: the broker's format. wanted: the classes subscribed to. max_bytes: of the body.
    """
    envelope = decoded(received, fmt, max_bytes)
    if isinstance(envelope, Refused):
        return envelope
    classes = wanted.get(envelope.type)
    if not classes:
        return Skipped("nobody here asked for its type", envelope.type)
    unversioned = not envelope.version
    if unversioned:  # the format tells none
        envelope.version = max(cls.version for cls in classes)
    envelope.kind = classes[0].event_kind
    try:
        return Accepted(envelope, _event_of(envelope), unversioned)
    except (UnknownEventType, UnknownEventVersion) as error:
        return Refused("unknown_event", str(error), type(error).__name__, envelope, unversioned)
    except InvalidEnvelope as error:
        return Refused("invalid", str(error), type(error).__name__, envelope, unversioned)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a validator or upcaster of the application's: SystemExit, a panic of its Rust
        name = type(error).__name__
        return Refused("invalid", f"decoding the event failed: {name}", name, envelope, unversioned)


def decoded(received: Received, fmt: Format, max_bytes: int) -> Envelope | Refused:
    """The envelope in the message, whoever asked for its type. Never raises for what stands in it."""
    size = len(received.body)
    if size > max_bytes:
        return Refused("oversize", f"the message has {size:,} bytes, more than MAX_EVENT_BYTES ({max_bytes:,})", "")
    try:
        return format_of(received, fmt).decode(received)
    except InvalidEnvelope as error:
        return Refused("undecodable", str(error), type(error).__name__)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a format of the application's; its text may quote the message
        name = type(error).__name__
        return Refused("undecodable", f"the message cannot be decoded: {name}", name)


def format_of(received: Received, fmt: Format) -> Format:
    """The format that the message is in: the broker's own, but for CloudEvents, which say what they are."""
    content_type = received.content_type
    if content_type.startswith(_CLOUDEVENTS) and fmt.content_type != content_type:
        from events_core.brokers.formats import format_named

        return format_named("cloudevents")
    return fmt


def _event_of(envelope: Envelope) -> IntegrationEvent:
    cls, _ = path_from(envelope.type, envelope.version)
    if not issubclass(cls, IntegrationEvent):
        raise UnknownEventVersion(
            f"event {envelope.type!r} version {envelope.version} is no integration event here, but a {cls.__qualname__}"
        )
    event: Event = envelope.event()
    assert isinstance(event, IntegrationEvent)
    return event
