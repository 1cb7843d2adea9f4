"""Items over HTTP."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field

from examples.modular_monolith.modules.items.service import ItemService

router = APIRouter()


class NewItem(BaseModel):
    """What somebody puts in."""

    title: str = Field(min_length=1, max_length=200)
    owner_id: UUID


@router.post("/items", status_code=201)
def create_item(new: NewItem) -> dict[str, UUID]:
    """Create an item."""
    return {"item_id": ItemService().create_item(new.title, new.owner_id)}
