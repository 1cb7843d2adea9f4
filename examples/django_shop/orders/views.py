"""The shop's pages."""

from __future__ import annotations

from django.contrib import messages
from django.db import transaction
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from events_core.contrib.django import events
from examples.django_shop.orders.events import OrderPlaced
from examples.django_shop.orders.models import Order, Stock


class SoldOut(Exception):
    """There are not as many left."""


def index(request: HttpRequest) -> HttpResponse:
    """A form, and the last orders with what became of them."""
    context = {"orders": Order.objects.order_by("-pk")[:20], "stock": Stock.objects.order_by("item")}
    return render(request, "orders/index.html", context)


@require_POST
def place(request: HttpRequest) -> HttpResponse:
    """Place an order, all of it or nothing."""
    form = request.POST
    try:
        order = place_order(form["item"], int(form["quantity"]), form["email"], form["card"])
    except SoldOut as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"Order {order.pk} is placed.")
    return redirect("index")


@transaction.atomic
def place_order(item: str, quantity: int, email: str, card: str) -> Order:
    """The event goes out after the commit. Raises SoldOut: then there is neither an order nor an event."""
    order = Order.objects.create(item=item, quantity=quantity, email=email, card=card)
    events.emit(OrderPlaced(order_id=order.pk))
    if not Stock.objects.filter(item=item, left__gte=quantity).update(left=F("left") - quantity):
        raise SoldOut(f"There are no {quantity} of {item} left.")
    return order


@require_POST
def change_card(request: HttpRequest, order_id: int) -> HttpResponse:
    """The customer gives a better card; then a redrive of the dead letter charges it."""
    Order.objects.filter(pk=order_id, paid=None).update(card="good")
    messages.success(request, f"Order {order_id} has another card: redrive its dead letter in the admin.")
    return redirect("index")
