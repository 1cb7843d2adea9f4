"""What follows from an order. Each handler is a task of its own; a delivery may start more than once."""

from __future__ import annotations

import logging

from django.utils import timezone

from events_core import GiveUp
from events_core.contrib.django import events
from examples.django_shop.orders.events import OrderPaid, OrderPlaced
from examples.django_shop.orders.models import Order

logger = logging.getLogger(__name__)


@events.handler(OrderPlaced)
def charge(event: OrderPlaced) -> OrderPaid:
    """Charge the card. A declined one stays declined: a dead letter at once, until someone redrives it."""
    order = Order.objects.get(pk=event.order_id)
    if order.card == "declined":
        raise GiveUp(f"the card of order {order.pk} is declined")
    Order.objects.filter(pk=order.pk, paid=None).update(paid=timezone.now())
    return OrderPaid(order_id=order.pk)


@events.handler(OrderPlaced)
def tell_warehouse(event: OrderPlaced) -> None:
    """Nobody waits for it."""
    logger.info("pack order %s", event.order_id)


@events.handler(OrderPaid)
async def send_receipt(event: OrderPaid) -> None:
    """Async, with Django's async queries."""
    await Order.objects.filter(pk=event.order_id, receipt=None).aupdate(receipt=timezone.now())
