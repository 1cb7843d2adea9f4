"""The shop's web side: takes orders, says that they happened, and leaves the rest to the worker."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

from events_core import EmitError
from examples.shop.events import OrderPlaced
from examples.shop.system import events


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Leave the broker when the server ends."""
    yield
    events.close()


app = FastAPI(title="shop", lifespan=lifespan)
_numbers = itertools.count(1)


class NewOrder(BaseModel):
    """What a customer sends."""

    sku: str
    quantity: int = Field(ge=1)
    email: str
    card_token: str


class Accepted(BaseModel):
    """The answer: the order, and what will follow from it as delivery ids by handler."""

    order_id: UUID
    number: int
    event_id: UUID
    deliveries: dict[str, str]


@app.post("/orders", status_code=202)
async def place_order(order: NewOrder) -> Accepted:
    """Accept an order. 503 when the broker did not confirm it: the customer may try again."""
    placed = OrderPlaced(order_id=uuid4(), number=next(_numbers), **order.model_dump())
    try:
        emission = await events.aemit(placed)
    except EmitError as error:
        raise HTTPException(503, "orders cannot be taken right now, try again") from error
    deliveries = {delivery.handler: delivery.task_id for delivery in emission.deliveries}
    return Accepted(order_id=placed.order_id, number=placed.number, event_id=emission.event_id, deliveries=deliveries)


@app.get("/")
async def about() -> dict[str, Any]:
    """What this is, and how to order."""
    order = NewOrder(sku="tea", quantity=2, email="ada@example.com", card_token="tok_visa")
    return {"shop": "an example of celery-events", "order": {"POST": "/orders", "json": order.model_dump()}}


@app.get("/healthz")
async def healthz() -> dict[str, bool]:
    """Whether this process answers."""
    return {"ok": True}
