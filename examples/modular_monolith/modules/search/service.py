"""The index of all items: a table of its own, so that it could be a search server tomorrow."""

from __future__ import annotations

from uuid import UUID

from examples.modular_monolith.core.data import database

_TABLE = "search (item_id TEXT PRIMARY KEY, title TEXT)"


class SearchService:
    """Indexes items and finds them."""

    def index(self, item_id: UUID, title: str) -> None:
        """Take an item into the index; again is no other item."""
        with database(_TABLE) as rows:
            rows.execute("INSERT OR REPLACE INTO search VALUES (?, ?)", (str(item_id), title))

    def find(self, words: str) -> list[UUID]:
        """The items with these words in their titles."""
        with database(_TABLE) as rows:
            select = "SELECT item_id FROM search WHERE instr(lower(title), lower(?)) ORDER BY title"
            return [UUID(item_id) for (item_id,) in rows.execute(select, (words,))]
