"""What can happen in the shop."""

from __future__ import annotations

from uuid import UUID

from events_core import DomainEvent


class OrderPlaced(DomainEvent, event_type="order.placed"):
    """A customer has ordered. `card_token` stands for the card at the payment provider: no card number gets here."""

    order_id: UUID
    number: int
    sku: str
    quantity: int
    email: str
    card_token: str


class OrderPaid(DomainEvent, event_type="order.paid"):
    """The card was charged."""

    order_id: UUID
    payment_id: str
    email: str
