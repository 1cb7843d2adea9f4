"""What can happen to an order. The events name it; handlers read it from the database, which has it by then."""

from __future__ import annotations

from events_core import DomainEvent


class OrderPlaced(DomainEvent, event_type="order.placed"):
    """A customer has ordered, and the order is committed."""

    order_id: int


class OrderPaid(DomainEvent, event_type="order.paid"):
    """Its card was charged."""

    order_id: int
