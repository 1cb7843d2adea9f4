"""The users in an SQLite file, in the folder that USER_REGISTRATION_DATA names."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import UUID

from examples.user_registration.users.user import User

FOLDER = "USER_REGISTRATION_DATA"
_SCHEMA = "CREATE TABLE IF NOT EXISTS users (email TEXT UNIQUE, user_id TEXT PRIMARY KEY, verified INTEGER)"
_SAVE = "INSERT INTO users VALUES (?, ?, ?) ON CONFLICT (user_id) DO UPDATE SET verified = excluded.verified"


class Store:
    """The users, within one transaction."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def by_email(self, email: str) -> User | None:
        """The user with that address."""
        return self._find("email", email)

    def by_id(self, user_id: UUID) -> User | None:
        """The user of that id."""
        return self._find("user_id", str(user_id))

    def save(self, user: User) -> None:
        """Write it, when the transaction commits."""
        self._database.execute(_SAVE, (user.email, str(user.user_id), user.verified))

    def commit(self) -> None:
        """From here on it is on disk."""
        self._database.commit()

    def _find(self, column: str, value: str) -> User | None:
        row = self._database.execute(f"SELECT * FROM users WHERE {column} = ?", (value,)).fetchone()
        return None if row is None else User(row[0], UUID(row[1]), bool(row[2]))


@contextmanager
def transaction() -> Iterator[Store]:
    """A transaction, which is rolled back unless it is committed within the block."""
    folder = Path(os.environ.get(FOLDER, ".user_registration"))
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / "users.sqlite3", timeout=30)) as database:
        database.execute(_SCHEMA)
        database.execute("BEGIN IMMEDIATE")  # of two registrations with one address the second sees the first
        yield Store(database)
