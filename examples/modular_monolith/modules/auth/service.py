"""Password resets. Of a token only the digest is stored: who reads the database cannot use it."""

from __future__ import annotations

import hashlib
import secrets
import time

from examples.modular_monolith.core.data import database
from examples.modular_monolith.modules.auth.events import PasswordResetRequested
from examples.modular_monolith.modules.users.service import UserService

_TABLE = "resets (digest TEXT PRIMARY KEY, email TEXT, until REAL)"
_VALID = 3600.0  # seconds


class AuthService:
    """Lets people in who have lost their key."""

    def __init__(self, users: UserService) -> None:
        self.users = users

    def request_password_reset(self, email: str) -> None:
        """Make a token, and have it sent. Does not tell whether there is such a user."""
        user = self.users.get_by_email(email)
        if not user:
            return
        token = secrets.token_urlsafe(32)
        with database(_TABLE) as rows:
            rows.execute("INSERT INTO resets VALUES (?, ?, ?)", (_digest(token), email, time.time() + _VALID))
        PasswordResetRequested(email=email, token=token, username=user.full_name or email).publish()

    def reset_password(self, token: str, password: str) -> bool:
        """Set the password of whoever got the token, once; False for a token that is not valid."""
        with database(_TABLE) as rows:
            delete = "DELETE FROM resets WHERE digest = ? AND until > ? RETURNING email"
            found = rows.execute(delete, (_digest(token), time.time())).fetchone()
            if found is not None:  # other mails that were asked for are of no use any more
                rows.execute("DELETE FROM resets WHERE email = ?", found)
        if found is not None:
            self.users.set_password(found[0], password)
        return found is not None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
