"""FastAPI with sessions of SQLAlchemy: there is an event for each row, and no other."""

# No `from __future__ import annotations`: FastAPI could not read those of functions within functions.

from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, HTTPException
from fastapi.testclient import TestClient
from sqlalchemy import Engine, ForeignKey, create_engine, event, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from events_core import DomainEvent, EventSystem
from events_core.contrib.fastapi import held
from tests.support.broker_queues import envelopes


class Booked(DomainEvent, event_type="sqlalchemy.booked"):
    number: int


class Base(DeclarativeBase):
    pass


class Room(Base):
    __tablename__ = "rooms"
    number: Mapped[int] = mapped_column(primary_key=True)


class Booking(Base):
    """Its room is looked for when the transaction commits, and not before."""

    __tablename__ = "bookings"
    number: Mapped[int] = mapped_column(primary_key=True)
    room: Mapped[int] = mapped_column(ForeignKey("rooms.number", deferrable=True, initially="DEFERRED"))


def handle(event: Booked) -> None: ...


@pytest.fixture
def events(redis_url: str, system_name: str) -> Iterator[EventSystem]:
    events = EventSystem(system_name, broker_url=redis_url)
    events.bind(Booked, handle, name="booked")
    yield events
    events.close()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path}/rooms.sqlite3")
    event.listen(engine, "connect", check_rooms)
    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        session.add(Room(number=1))
    yield engine
    engine.dispose()


def check_rooms(connection: Any, _: object) -> None:
    connection.execute("PRAGMA foreign_keys = ON")


def sync_app(events: EventSystem, engine: Engine) -> FastAPI:
    app = FastAPI(dependencies=[held(events)])
    sessions = sessionmaker(engine)

    def transaction() -> Iterator[Session]:
        with sessions.begin() as session:
            yield session

    @app.post("/{number}/{room}")
    def book(number: int, room: int, session: Annotated[Session, Depends(transaction, scope="function")]) -> None:
        session.add(Booking(number=number, room=room))
        events.emit(Booked(number=number))
        session.flush()
        if number == 99:
            raise HTTPException(409)

    return app


def async_app(events: EventSystem, engine: Engine) -> FastAPI:
    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

    app = FastAPI(dependencies=[held(events)])
    asynchronous = create_async_engine(engine.url.set(drivername="sqlite+aiosqlite"))
    event.listen(asynchronous.sync_engine, "connect", check_rooms)
    sessions = async_sessionmaker(asynchronous)

    async def transaction() -> AsyncIterator[AsyncSession]:
        async with sessions.begin() as session:
            yield session

    @app.post("/{number}/{room}")
    async def book(
        number: int, room: int, session: Annotated[AsyncSession, Depends(transaction, scope="function")]
    ) -> None:
        session.add(Booking(number=number, room=room))
        await events.aemit(Booked(number=number))
        await session.flush()
        if number == 99:
            raise HTTPException(409)

    return app


@pytest.mark.parametrize(
    "make",
    [
        sync_app,
        pytest.param(
            async_app,
            marks=pytest.mark.skipif(
                not (find_spec("greenlet") and find_spec("aiosqlite")),
                reason="sessions of asyncio need sqlalchemy[asyncio] and aiosqlite",
            ),
        ),
    ],
)
def test_rows_and_events_are_the_same(make: Any, events: EventSystem, engine: Engine, redis_url: str) -> None:
    """Whether requests succeed, fail in the endpoint, while they write, or when they commit."""
    with TestClient(make(events, engine), raise_server_exceptions=False) as client:
        statuses = [client.post(path).status_code for path in ("/1/1", "/2/404", "/99/1", "/1/1", "/3/1")]
    assert statuses == [200, 500, 409, 500, 200]
    with Session(engine) as session:
        rows = list(session.scalars(select(Booking.number).order_by(Booking.number)))
    assert rows == [1, 3]
    assert [envelope["data"]["number"] for envelope in envelopes(redis_url, events.settings.default_queue)] == rows
