"""Items."""

from __future__ import annotations

from uuid import UUID, uuid4

from examples.modular_monolith.core.data import database
from examples.modular_monolith.modules.items.events import ItemCreated

_TABLE = "items (item_id TEXT PRIMARY KEY, title TEXT, owner_id TEXT)"


class ItemService:
    """Creates items."""

    def create_item(self, title: str, owner_id: UUID) -> UUID:
        """Save an item, then tell the other modules; its id."""
        item_id = uuid4()
        with database(_TABLE) as rows:
            rows.execute("INSERT INTO items VALUES (?, ?, ?)", (str(item_id), title, str(owner_id)))
        ItemCreated(item_id=item_id, title=title, owner_id=owner_id).publish()
        return item_id
