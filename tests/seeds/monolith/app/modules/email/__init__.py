"""The email module."""

import logging

from app.core.config import settings
from fastapi import FastAPI

logger = logging.getLogger(__name__)


# --- monolith 8: as it is
# app/modules/email/__init__.py
def init_email_module(app: FastAPI) -> None:
    """Initialize email module."""
    # Import here to avoid circular imports
    from app.modules.email.api.routes import router as email_router

    # Include the router in the application
    app.include_router(email_router, prefix=settings.API_V1_STR)

    # Import event handlers to register them
    from app.modules.email.services import email_event_handlers  # noqa: F401

    logger.info("Email module initialized")
