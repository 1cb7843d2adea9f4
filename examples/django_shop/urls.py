"""The shop, the admin, and the health check."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from events_core.contrib.django.health import health
from examples.django_shop.orders import views

urlpatterns = [
    path("", views.index, name="index"),
    path("orders", views.place, name="place"),
    path("orders/<int:order_id>/card", views.change_card, name="change_card"),
    path("healthz", health),
    path("admin/", admin.site.urls),
]
