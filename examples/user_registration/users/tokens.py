"""Tokens that verify an address. They are stored nowhere: who has the key USERS_KEY makes and reads them."""

from __future__ import annotations

import hmac
import os
import time
from uuid import UUID

VALID = 24 * 3600  # seconds


def make_token(user_id: UUID) -> str:
    """A token for that user: the id, until when it is valid, and a signature of both."""
    signed = f"{user_id}.{int(time.time()) + VALID}"
    return f"{signed}.{_signature(signed)}"


def user_of(token: str) -> UUID | None:
    """Whose token it is; None for one that is too old, or not ours."""
    signed, _, signature = token.rpartition(".")
    if not hmac.compare_digest(signature.encode(), _signature(signed).encode()):
        return None
    user_id, _, until = signed.partition(".")
    return UUID(user_id) if int(until) > time.time() else None


def _signature(text: str) -> str:
    return hmac.digest(os.environ["USERS_KEY"].encode(), text.encode(), "sha256").hex()
