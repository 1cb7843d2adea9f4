"""A user, and what can happen to one."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID, uuid4

from events_core.entities import AggregateRoot
from examples.user_registration.users.events import UserRegistered


@dataclass
class User(AggregateRoot):
    """Somebody with an address. It records its events; who saves it emits them."""

    email: str
    user_id: UUID = field(default_factory=uuid4)
    verified: bool = False

    def register(self) -> None:
        """They want an account. Again, as long as the address is not verified: perhaps no mail came."""
        if not self.verified:
            self.publish_event(UserRegistered(user_id=self.user_id))

    def verify(self) -> None:
        """The address is theirs."""
        self.verified = True
