"""Sessions of SQLAlchemy from the default container: committed with the run, rolled back with its failure."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session, sessionmaker

from events_core import DomainEvent
from events_core.containers import DefaultContainer, DependencyError
from events_core.handlers import inspect_handler
from events_worker.running import Runner


class Placed(DomainEvent, event_type="sqlalchemy_scopes.placed"):
    fails: bool = False


def ship(event: Placed, session: Session) -> None:
    session.execute(text("INSERT INTO shipped VALUES (1)"))
    if event.fails:
        raise ValueError("no stock")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    file = tmp_path / "shop.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE shipped (number INTEGER)")
    return file


def test_begin_is_a_factory_as_it_stands(database: Path) -> None:
    """``sessionmaker.begin``: nothing else needs to be written."""
    container = DefaultContainer()
    container.register(Session, sessionmaker(create_engine(f"sqlite:///{database}")).begin)
    runner = Runner(container)
    spec = inspect_handler(ship)
    runner.run(spec, Placed())
    with pytest.raises(ValueError, match="no stock"):
        runner.run(spec, Placed(fails=True))
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM shipped").fetchone() == (1,)


def test_a_session_of_no_database_is_not_made_in_silence() -> None:
    with pytest.raises(DependencyError, match=r"nothing makes a Session, and its arguments all have defaults"):
        DefaultContainer().check(Session)
