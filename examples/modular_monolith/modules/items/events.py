"""What happens to items."""

from __future__ import annotations

from uuid import UUID

from examples.modular_monolith.core.events import EventBase


class ItemCreated(EventBase):
    """There is a new item."""

    event_type: str = "item.created"  # type: ignore[misc]
    item_id: UUID
    title: str
    owner_id: UUID
