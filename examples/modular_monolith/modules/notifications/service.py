"""Notifications."""

from __future__ import annotations

from uuid import UUID

from examples.modular_monolith.core.data import database

_TABLE = "notifications (event_id TEXT PRIMARY KEY, user_id TEXT, text TEXT)"


class NotificationService:
    """Keeps what users are told."""

    def notify(self, event_id: UUID, user_id: UUID, text: str) -> None:
        """Tell a user; of one event once, however often this runs."""
        with database(_TABLE) as rows:
            row = (str(event_id), str(user_id), text)
            rows.execute("INSERT INTO notifications VALUES (?, ?, ?) ON CONFLICT DO NOTHING", row)

    def of(self, user_id: UUID) -> list[str]:
        """What a user was told."""
        with database(_TABLE) as rows:
            select = "SELECT text FROM notifications WHERE user_id = ? ORDER BY event_id"
            return [text for (text,) in rows.execute(select, (str(user_id),))]
