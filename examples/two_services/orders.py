"""The order service: takes orders, and tells whoever wants to know what became of them."""

from __future__ import annotations

import os

from events_core import DomainEvent, ECSTEvent, EventSystem, NotificationEvent
from events_core.brokers import ExchangeBroker

# Without MESSAGE_BROKER_URL the events go through the service's own broker, EVENTS_BROKER_URL.
events = EventSystem("orders", message_broker=ExchangeBroker(os.environ.get("MESSAGE_BROKER_URL")))


class OrderPlaced(DomainEvent, event_type="order.placed"):
    """The service's own business: it never leaves the service."""

    number: int
    customer: str
    address: str
    revision: int  # how often the customer's data has changed


class OrderConfirmed(NotificationEvent, event_type="order.confirmed", topic="orders"):
    """Tells other services that something happened."""

    number: int
    customer: str


class CustomerChanged(
    ECSTEvent, event_type="customer.changed", topic="customers", entity_key="customer", entity_version="revision"
):
    """Carries the customer's new state, so that other services need not ask for it."""

    customer: str
    address: str
    revision: int


@events.handler(OrderPlaced)
def confirm(event: OrderPlaced) -> list[OrderConfirmed | CustomerChanged]:
    """Both go out when this handler has succeeded, and have the same ids if it must run again."""
    return [
        CustomerChanged(customer=event.customer, address=event.address, revision=event.revision),
        OrderConfirmed(number=event.number, customer=event.customer),
    ]
