"""The shipping service: packs a parcel for each confirmed order, and keeps an address book of its own."""

from __future__ import annotations

import os

from events_core import ECSTEvent, EventSystem, NotificationEvent
from events_core.brokers import ExchangeBroker
from examples.two_services.ledger import Ledger

events = EventSystem("shipping", message_broker=ExchangeBroker(os.environ.get("MESSAGE_BROKER_URL")))
parcels = Ledger("shipping", "parcels")
addresses = Ledger("shipping", "addresses")


class OrderConfirmed(NotificationEvent, event_type="order.confirmed", topic="orders"):
    """What this service reads of it. No code of the order service is imported: the type's name is the contract."""

    number: int


class CustomerChanged(
    ECSTEvent, event_type="customer.changed", topic="customers", entity_key="customer", entity_version="revision"
):
    """All of it: the state is what this service wants."""

    customer: str
    address: str
    revision: int


@events.subscriber(events=[OrderConfirmed])  # the durable queue shipping.orders
def pack(event: OrderConfirmed) -> None:
    """Done again after a crash, it would be counted again, and it is still one parcel."""
    parcels.put(str(event.number), "packed")


@events.subscriber(events=[CustomerChanged], latest_only=True)  # the durable queue shipping.customers
def remember(event: CustomerChanged) -> None:
    """Never runs for a revision that is not newer than the last, whatever order they come in."""
    addresses.put(event.customer, event.address)
