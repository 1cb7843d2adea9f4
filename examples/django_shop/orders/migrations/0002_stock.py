# ruff: noqa: RUF012
"""What the shop has to sell."""

from __future__ import annotations

from typing import Any

from django.db import migrations


def fill(apps: Any, schema_editor: Any) -> None:
    """Two items."""
    stock = apps.get_model("orders", "Stock")
    stock.objects.bulk_create([stock(item="tea", left=100), stock(item="coffee", left=3)])


class Migration(migrations.Migration):
    """Its reverse leaves them."""

    dependencies = [("orders", "0001_initial")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
