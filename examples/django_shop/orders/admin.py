"""Orders in the admin."""

from __future__ import annotations

from django.contrib import admin

from examples.django_shop.orders.models import Order, Stock

admin.site.register([Order, Stock])
