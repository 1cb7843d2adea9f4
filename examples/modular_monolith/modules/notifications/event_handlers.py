"""What the notifications module does when something has happened elsewhere."""

from __future__ import annotations

from examples.modular_monolith.core.events import event_handler
from examples.modular_monolith.modules.items.events import ItemCreated
from examples.modular_monolith.modules.notifications.service import NotificationService


@event_handler("item.created")
def handle_item_created_event(event: ItemCreated) -> None:
    """Tell the owner."""
    NotificationService().notify(event.event_id, event.owner_id, f"{event.title!r} is there for everyone to see")
