"""Dead letters for the admin and its permissions. They are in Redis: there is no table."""

from __future__ import annotations

from typing import Any

from django.db import models


class _Nowhere(models.Manager["DeadLetter"]):
    """So that `dumpdata`, which asks every model, finds none."""

    def get_queryset(self) -> Any:
        return super().get_queryset().none()


class DeadLetter(models.Model):
    """Stands for the dead letter of that id."""

    id: models.CharField[str, str] = models.CharField(primary_key=True, max_length=100)

    objects = _Nowhere()

    class Meta:
        managed = False
        app_label = "celery_events"
        base_manager_name = "objects"
        verbose_name = "dead letter"
        default_permissions = ("view",)
        permissions = (
            ("redrive_deadletter", "Can redrive dead letter"),
            ("discard_deadletter", "Can discard dead letter"),
            ("view_payload", "Can view the payload of a dead letter"),
        )

    def __str__(self) -> str:
        return str(self.id)
