"""Tenants that share four places, of which each may have two."""

from __future__ import annotations

import asyncio
import os

from events_core import DomainEvent, EventSystem, Limit
from events_core.scope import fence_token
from tests.apps.recording import record

events = EventSystem(os.environ.get("TEST_SYSTEM", "unset"))


class Job(DomainEvent, event_type="fair.job"):
    tag: str
    tenant: str
    number: int


@events.handler(Job, limit=[Limit("tenant", 2, key="tenant"), Limit("all", 4)])
async def work(event: Job) -> None:
    record(event.tag, event.tenant, number=event.number, token=fence_token())
    await asyncio.sleep(0.01)
