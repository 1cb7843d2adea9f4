"""Writes to users who must verify their address."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import UUID

from events_core import EventSystem, Limit, NotificationEvent, Retry
from events_core.brokers import ExchangeBroker
from examples import outgoing
from examples.user_registration.mailer.asking import verification_of

events = EventSystem("mailer", message_broker=ExchangeBroker(os.environ.get("MESSAGE_BROKER_URL")))

TEXT = "Welcome!\n\nPlease verify your address:\n{link}\n\nIf you did not register, do nothing.\n"


class VerificationRequested(NotificationEvent, event_type="users.verification_requested", topic="users"):
    """What this service reads of it. No code of the user service is imported: the type's name is the contract."""

    user_id: UUID


@events.subscriber(
    events=[VerificationRequested],  # the durable queue mailer.users
    retry=Retry(max_attempts=10, base=0.5),  # the user service may be away, and the mail server as well
    limit=Limit("smtp", 5),
    timeout=30,
)
async def send_link(event: VerificationRequested) -> None:
    """One mail for each event, however often this runs."""
    found = await verification_of(event.user_id)
    if found is not None:
        folder = Path(os.environ.get("USER_REGISTRATION_DATA", ".user_registration")) / "outgoing"
        text = TEXT.format(link=found.link)
        outgoing.send(folder, str(event.event_id), found.email, "Please verify your address", text)
