"""The Django app."""

from __future__ import annotations

from django.apps import AppConfig


class OrdersConfig(AppConfig):
    """Its handlers are in handlers.py, where they are found."""

    name = "examples.django_shop.orders"
