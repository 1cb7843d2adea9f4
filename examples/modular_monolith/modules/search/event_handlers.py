"""What the search module does when something has happened elsewhere."""

from __future__ import annotations

from examples.modular_monolith.core.events import event_handler
from examples.modular_monolith.modules.items.events import ItemCreated
from examples.modular_monolith.modules.search.service import SearchService


@event_handler("item.created")
def handle_item_created_event(event: ItemCreated) -> None:
    """Index the new item."""
    SearchService().index(event.item_id, event.title)
