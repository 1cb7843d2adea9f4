"""The user service's EventSystem."""

from __future__ import annotations

import os

from events_core import EventSystem
from events_core.brokers import ExchangeBroker

# Without MESSAGE_BROKER_URL the events for others go through the service's own broker, EVENTS_BROKER_URL.
events = EventSystem(
    "users",
    handlers=["examples.user_registration.users.handlers"],
    message_broker=ExchangeBroker(os.environ.get("MESSAGE_BROKER_URL")),
)
