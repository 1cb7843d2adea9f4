"""The application: its modules, of which each registers its handlers."""

import logging

from app.modules.auth import password_reset  # noqa: F401
from app.modules.email import init_email_module
from fastapi import FastAPI

app = FastAPI()
init_email_module(app)

# --- monolith 12: changed
# Add this to your local development settings
logging.getLogger("events_core").setLevel(logging.DEBUG)
