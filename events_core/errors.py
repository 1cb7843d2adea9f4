"""Every error celery-events raises on purpose.

::

    EventsError
    ├── ConfigurationError            a setting is missing or cannot work
    │   ├── DependencyError           something that a handler needs cannot be made
    │   └── HandlersNotLoaded         a module named in handlers=[...] cannot be imported
    ├── EventDefinitionError          an event class cannot work as written
    │   └── DuplicateEventType        two classes claim one (event_type, version)
    ├── BindError                     a handler cannot be bound as written
    │   └── DuplicateBinding          the same handler twice for the same event
    ├── NotAnEvent                    something else than an event was emitted
    ├── EventTooLarge                 the encoded event exceeds MAX_EVENT_BYTES
    ├── BrokerNotConfigured           an integration event without a message broker (also a RuntimeError)
    ├── RequestHandlerDoesNotExist    no handler is bound to a request (also a LookupError)
    ├── HandlerInUse                  one instance of a request handler was given two requests at once
    ├── EmitMisused                   emit cannot do there what it was called for (also a RuntimeError)
    ├── EmitError                     the broker did not confirm every delivery
    │   └── Unroutable                no queue is bound to some of the events, and some must be
    └── UndecodableEvent              a received envelope is not an event this process knows
        ├── InvalidEnvelope           not an envelope, or its data does not fit the event class
        ├── UnknownEventType          no class of that type is loaded here
        └── UnknownEventVersion       the type is known, that version of it is not
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from events_core.publishing.messages import Delivery


class EventsError(Exception):
    """Base class of all errors of celery-events."""


class ConfigurationError(EventsError):
    """A setting is missing or cannot work; the message says which and what to set."""


class HandlersNotLoaded(ConfigurationError):
    """A module named in ``handlers=[...]`` cannot be imported; its error is the cause."""


class EventDefinitionError(EventsError, TypeError):
    """An event class cannot work as written."""


class DuplicateEventType(EventDefinitionError):
    """Two classes claim the same (event_type, version)."""


class BindError(EventsError, TypeError):
    """A handler cannot be bound as written."""


class DuplicateBinding(BindError):
    """The same handler is bound twice to the same event, or two handlers share a name."""


class NotAnEvent(EventsError, TypeError):
    """Something else than an event was given to emit."""


class EventTooLarge(EventsError, ValueError):
    """The encoded event exceeds MAX_EVENT_BYTES."""


class BrokerNotConfigured(EventsError, RuntimeError):
    """An integration event was emitted, but the system has no message broker."""


class EmitMisused(EventsError, RuntimeError):
    """emit cannot do there what it was called for; the message says what to call instead."""


class RequestHandlerDoesNotExist(EventsError, LookupError):
    """No handler is bound to the class of a request."""


class HandlerInUse(EventsError, RuntimeError):
    """One handler instance with a list of events of its own was given two requests at once."""


class EmitError(EventsError):
    """The broker did not confirm every delivery within EMIT_TIMEOUT.

    confirmed: deliveries the broker has taken; they will reach their handlers.
    uncertain: deliveries that were sent, but not answered for; they may or may not arrive.
    unsent: deliveries that certainly did not reach the broker.

    Emitting the same event object again is safe for all of them: its deliveries keep their ids.
    """

    _until = "once the broker answers"

    def __init__(
        self,
        reason: str,
        *,
        confirmed: Sequence[Delivery] = (),
        uncertain: Sequence[Delivery] = (),
        unsent: Sequence[Delivery] = (),
    ) -> None:
        self.reason = reason
        self.confirmed = list(confirmed)
        self.uncertain = list(uncertain)
        self.unsent = list(unsent)
        super().__init__(
            f"{reason} ({len(self.confirmed)} deliveries confirmed, {len(self.uncertain)} uncertain, "
            f"{len(self.unsent)} unsent); emit the same event object again {self._until}"
        )


class Unroutable(EmitError):
    """No queue is bound to some of the events, and their broker was told to refuse such (`unroutable="raise"`).

    They are `unsent`. Emitting them again helps once a subscriber has declared its queue.
    """

    _until = "once a subscriber has declared its queue"


class UndecodableEvent(EventsError):
    """A received envelope is not an event this process knows."""


class InvalidEnvelope(UndecodableEvent):
    """Not an envelope, or its data does not fit the event class."""


class UnknownEventType(UndecodableEvent):
    """No event class of that type is loaded in this process."""


class UnknownEventVersion(UndecodableEvent):
    """The event type is known here, that version of it is not."""
