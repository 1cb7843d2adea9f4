"""Where the application keeps its data: the folder that MONOLITH_DATA names."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path


def folder() -> Path:
    """The folder, which is there from now on."""
    path = Path(os.environ.get("MONOLITH_DATA", ".modular_monolith"))
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def database(table: str) -> Iterator[sqlite3.Connection]:
    """A transaction, committed when the block ends cleanly. table: a module's own, ``name (column, ...)``."""
    with closing(sqlite3.connect(folder() / "monolith.sqlite3", timeout=30)) as connection, connection:
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table}")
        yield connection
