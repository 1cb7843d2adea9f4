"""What happens to users."""

from __future__ import annotations

from uuid import UUID

from events_core import DomainEvent, NotificationEvent


class UserRegistered(DomainEvent, event_type="user.registered"):
    """The service's own business: it never leaves the service."""

    user_id: UUID


class VerificationRequested(NotificationEvent, event_type="users.verification_requested", topic="users"):
    """Tells other services that a user's address is to be verified.

    It names the user, and no more. Whoever may bind a queue to the topic reads what is in it, and dead letters are kept
    for weeks: neither is a place for an address, and none at all for a token by which anybody could verify it. Who
    needs them asks this service, with a key of its own.
    """

    user_id: UUID
