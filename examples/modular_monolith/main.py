"""The application: its modules, put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from examples.modular_monolith.core.events import events
from examples.modular_monolith.modules.auth import init_auth_module
from examples.modular_monolith.modules.items import init_items_module
from examples.modular_monolith.modules.notifications import init_notifications_module
from examples.modular_monolith.modules.search import init_search_module
from examples.modular_monolith.modules.users import init_users_module


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Leave the broker when the server ends."""
    yield
    await asyncio.to_thread(events.close)


app = FastAPI(title="modular monolith", lifespan=lifespan)
for init in (
    init_users_module,
    init_auth_module,
    init_items_module,
    init_notifications_module,
    init_search_module,
):
    init(app)
