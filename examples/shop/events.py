"""What can happen in the shop."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from events_core import DomainEvent
from events_core.secret import Secret


class OrderPlaced(DomainEvent, event_type="order.placed"):
    """A customer has ordered. `card_token` stands for the card at the payment provider: no card number gets here.

    Who has the token can charge the card, so it is readable in handlers alone.
    """

    order_id: UUID
    number: int
    sku: str
    quantity: int
    email: str
    card_token: Annotated[str, Secret]


class OrderPaid(DomainEvent, event_type="order.paid"):
    """The card was charged."""

    order_id: UUID
    payment_id: str
    email: str
