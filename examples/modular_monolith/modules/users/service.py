"""Users and their passwords."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from uuid import UUID, uuid4

from examples.modular_monolith.core.data import database
from examples.modular_monolith.modules.users.events import UserCreatedEvent

_TABLE = "users (user_id TEXT PRIMARY KEY, email TEXT UNIQUE, full_name TEXT, password BLOB)"


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with an account."""

    user_id: UUID
    email: str
    full_name: str | None


class UserService:
    """Creates users and finds them."""

    def create_user(self, email: str, password: str, full_name: str | None = None) -> User:
        """Save a user, then tell the other modules. Raises sqlite3.IntegrityError for an address that is taken."""
        user = User(uuid4(), email, full_name)
        with database(_TABLE) as rows:
            row = (str(user.user_id), email, full_name, _hashed(password))
            rows.execute("INSERT INTO users VALUES (?, ?, ?, ?)", row)
        UserCreatedEvent(user_id=user.user_id, email=user.email, full_name=user.full_name).publish()
        return user

    def get_by_email(self, email: str) -> User | None:
        """The user with that address."""
        with database(_TABLE) as rows:
            found = rows.execute("SELECT user_id, full_name FROM users WHERE email = ?", (email,)).fetchone()
        return None if found is None else User(UUID(found[0]), email, found[1])

    def set_password(self, email: str, password: str) -> None:
        """From now on it is this one."""
        with database(_TABLE) as rows:
            rows.execute("UPDATE users SET password = ? WHERE email = ?", (_hashed(password), email))

    def has_password(self, email: str, password: str) -> bool:
        """Whether it is theirs."""
        with database(_TABLE) as rows:
            found = rows.execute("SELECT password FROM users WHERE email = ?", (email,)).fetchone()
        return found is not None and hmac.compare_digest(found[0], _hashed(password, found[0][:16]))


def _hashed(password: str, salt: bytes | None = None) -> bytes:
    salt = salt or secrets.token_bytes(16)
    return salt + hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)
