"""Finds items. Importing the module registers its handlers."""

from __future__ import annotations

from fastapi import FastAPI

from examples.modular_monolith.modules.search import event_handlers

__all__ = ["event_handlers", "init_search_module"]


def init_search_module(app: FastAPI) -> None:
    """Put the module's routes into the application."""
    from examples.modular_monolith.modules.search.routes import router

    app.include_router(router)
