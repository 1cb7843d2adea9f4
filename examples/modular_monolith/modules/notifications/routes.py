"""Notifications over HTTP."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter

from examples.modular_monolith.modules.notifications.service import NotificationService

router = APIRouter()


@router.get("/users/{user_id}/notifications")
def notifications(user_id: UUID) -> list[str]:
    """What the user was told."""
    return NotificationService().of(user_id)
