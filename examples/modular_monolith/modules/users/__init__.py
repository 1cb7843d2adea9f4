"""Who has an account. It publishes user.created, and has no handlers."""

from __future__ import annotations

from fastapi import FastAPI


def init_users_module(app: FastAPI) -> None:
    """Put the module's routes into the application."""
    from examples.modular_monolith.modules.users.routes import router

    app.include_router(router)
