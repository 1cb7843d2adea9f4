"""The mail service: writes a letter for each confirmed order."""

from __future__ import annotations

import os

from events_core import EventSystem, NotificationEvent
from events_core.brokers import ExchangeBroker
from examples.two_services.ledger import Ledger

events = EventSystem("mail", message_broker=ExchangeBroker(os.environ.get("MESSAGE_BROKER_URL")))
letters = Ledger("mail", "letters")


class OrderConfirmed(NotificationEvent, event_type="order.confirmed", topic="orders"):
    """What this service reads of it."""

    number: int
    customer: str


@events.subscriber(events=[OrderConfirmed], queue="letters")  # a queue of its own: shipping gets every event too
def write(event: OrderConfirmed) -> None:
    """One letter for each order, however often it is written."""
    letters.put(str(event.number), f"Dear {event.customer}, your order {event.number} is confirmed.")
