"""Passwords that were forgotten. It publishes password.reset.requested, and has no handlers."""

from __future__ import annotations

from fastapi import FastAPI


def init_auth_module(app: FastAPI) -> None:
    """Put the module's routes into the application."""
    from examples.modular_monolith.modules.auth.routes import router

    app.include_router(router)
