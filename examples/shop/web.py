"""The shop's web side: takes orders, says that they happened, and leaves the rest to the worker."""

from __future__ import annotations

import itertools
from typing import Any
from uuid import UUID, uuid4

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from events_core import EmitError
from events_core.contrib.fastapi import CorrelationMiddleware, health, held, lifespan
from examples.shop.events import OrderPlaced
from examples.shop.system import events

app = FastAPI(title="shop", lifespan=lifespan(events), dependencies=[held(events)])
app.add_middleware(CorrelationMiddleware)
app.add_api_route("/readyz", health(events))
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
    """Accept an order. What is emitted goes out when this has returned, before the customer hears of it."""
    placed = OrderPlaced(order_id=uuid4(), number=next(_numbers), **order.model_dump())
    emission = await events.aemit(placed)
    deliveries = {delivery.handler: delivery.task_id for delivery in emission.deliveries}
    return Accepted(order_id=placed.order_id, number=placed.number, event_id=emission.event_id, deliveries=deliveries)


@app.exception_handler(EmitError)
async def refuse(request: Request, error: EmitError) -> JSONResponse:
    """503 when the broker did not confirm an order: the customer may try again."""
    return JSONResponse({"detail": "orders cannot be taken right now, try again"}, 503)


@app.get("/")
async def about() -> dict[str, Any]:
    """What this is, and how to order."""
    order = NewOrder(sku="tea", quantity=2, email="ada@example.com", card_token="tok_visa")
    return {"shop": "an example of celery-events", "order": {"POST": "/orders", "json": order.model_dump()}}


@app.get("/healthz")
async def healthz() -> dict[str, bool]:
    """Whether this process answers; /readyz tells whether the servers behind it do."""
    return {"ok": True}
