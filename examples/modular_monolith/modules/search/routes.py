"""The search over HTTP."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter

from examples.modular_monolith.modules.search.service import SearchService

router = APIRouter()


@router.get("/search")
def search(q: str) -> list[UUID]:
    """The ids of items with these words in their titles."""
    return SearchService().find(q)
