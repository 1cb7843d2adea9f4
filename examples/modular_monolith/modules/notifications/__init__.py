"""What users are told within the application. Importing the module registers its handlers."""

from __future__ import annotations

from fastapi import FastAPI

from examples.modular_monolith.modules.notifications import event_handlers

__all__ = ["event_handlers", "init_notifications_module"]


def init_notifications_module(app: FastAPI) -> None:
    """Put the module's routes into the application."""
    from examples.modular_monolith.modules.notifications.routes import router

    app.include_router(router)
