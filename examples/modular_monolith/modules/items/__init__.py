"""Items that users put in. It publishes item.created, and has no handlers."""

from __future__ import annotations

from fastapi import FastAPI


def init_items_module(app: FastAPI) -> None:
    """Put the module's routes into the application."""
    from examples.modular_monolith.modules.items.routes import router

    app.include_router(router)
