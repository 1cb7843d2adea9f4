"""The database of a service: a table in an SQLite file, in the folder that TWO_SERVICES_DATA names."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

FOLDER = "TWO_SERVICES_DATA"
_PUT = "INSERT INTO {} VALUES (?, ?, 1) ON CONFLICT (key) DO UPDATE SET value = excluded.value, times = times + 1"


class Ledger:
    """Values by key. To put one again is no error, and is counted."""

    def __init__(self, service: str, table: str) -> None:
        self._service, self._table = service, table

    def put(self, key: str, value: str) -> None:
        """Write it, and return when it is on disk."""
        with closing(self._open()) as database, database:
            database.execute(_PUT.format(self._table), (key, value))

    def values(self) -> dict[str, str]:
        """All values by their keys."""
        with closing(self._open()) as database:
            return dict(database.execute(f"SELECT key, value FROM {self._table}"))

    def repeats(self) -> int:
        """How often something was put that was there already."""
        with closing(self._open()) as database:
            return int(database.execute(f"SELECT COALESCE(SUM(times - 1), 0) FROM {self._table}").fetchone()[0])

    def _open(self) -> sqlite3.Connection:
        folder = Path(os.environ.get(FOLDER, ".two_services"))
        folder.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(folder / f"{self._service}.sqlite3", timeout=30)
        database.execute(f"CREATE TABLE IF NOT EXISTS {self._table} (key TEXT PRIMARY KEY, value TEXT, times INTEGER)")
        return database
