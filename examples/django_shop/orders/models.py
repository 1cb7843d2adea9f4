# mypy: disable-error-code="var-annotated"
"""What the shop knows of its orders. (The first line: mypy knows no types of Django's fields without its plugin.)"""

from __future__ import annotations

from django.db import models


class Stock(models.Model):
    """How many there are of an item."""

    item = models.CharField(max_length=40, unique=True)
    left = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.item}: {self.left}"


class Order(models.Model):
    """One order."""

    item = models.CharField(max_length=40)
    quantity = models.PositiveIntegerField()
    email = models.EmailField()
    card = models.CharField(max_length=20)
    placed = models.DateTimeField(auto_now_add=True)
    paid = models.DateTimeField(null=True)
    receipt = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"order {self.pk}"
