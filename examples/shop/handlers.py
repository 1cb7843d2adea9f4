"""What follows from what happened. Each handler is a task of its own: one that fails keeps no other from its work.

A delivery may start more than once (a killed worker, a retry), so each handler names its effect by the order's id and
leaves it at one.
"""

from __future__ import annotations

import logging

from events_core import DomainEvent, Limit, Retry
from examples.shop.events import OrderPaid, OrderPlaced
from examples.shop.journal import journaled
from examples.shop.services import CardDeclined, mail, payments, stock
from examples.shop.system import events

logger = logging.getLogger(__name__)

#: The provider is back within moments; a declined card stays declined, so that delivery is a dead letter at once.
PROVIDER = Retry(max_attempts=5, base=0.5, max_delay=30.0, give_up_on=CardDeclined)
#: So many connections the mail server takes from us, whatever the number of our workers.
SMTP = Limit("smtp", 2)


@events.handler(OrderPlaced)
@journaled
def reserve_stock(event: OrderPlaced) -> None:
    """Set the goods aside."""
    stock.reserve(event.order_id, event.sku, event.quantity)


@events.handler(OrderPlaced, retry=PROVIDER)
@journaled
def charge(event: OrderPlaced) -> OrderPaid:
    """Charge the card. What a handler returns is emitted once it has succeeded."""
    payment_id = payments.charge(event.order_id, event.number, event.card_token)
    return OrderPaid(order_id=event.order_id, payment_id=payment_id, email=event.email)


@events.handler(OrderPaid, queue="shop.mail", limit=SMTP, timeout=30)
@journaled
async def send_receipt(event: OrderPaid) -> None:
    """Mail the receipt. Async handlers share one event loop, and with it their connections.

    A queue of its own, so that it can have workers of its own. A receipt that has to wait occupies none of them.
    """
    await mail.send(event.email, f"Receipt {event.payment_id} for order {event.order_id}")


@events.handler("order.*")
@journaled
def analytics(event: DomainEvent) -> None:
    """Count every event of an order, also of types that do not exist yet."""
    logger.debug("%s at %s", event.event_type, event.occurred_at)
