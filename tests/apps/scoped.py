"""Handlers with scopes of three containers, which record how each scope ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from itertools import count
from pathlib import Path
from typing import Any

import dishka

from events_core import DomainEvent, EventHandler, EventSystem, Retry
from events_core.containers import DefaultContainer
from tests.apps.recording import claim_soon, enter, record

_numbers = count(1)
QUICK = Retry(max_attempts=2, base=0.05, jitter=False)


class Asked(DomainEvent, event_type="scoped.asked"):
    tag: str
    number: int = 0


class Failing(DomainEvent, event_type="scoped.failing"):
    tag: str


class Hanging(DomainEvent, event_type="scoped.hanging"):
    tag: str


class Deadly(DomainEvent, event_type="scoped.deadly"):
    tag: str


class Session:
    """Open until its scope ends. Numbered within its process."""

    def __init__(self) -> None:
        self.number, self.is_open, self.tag = next(_numbers), True, ""

    def use(self, tag: str, what: str) -> None:
        assert self.is_open
        assert not self.tag, "shared by two handlers"
        self.tag = tag
        record(tag, what, session=self.number, program=Path(sys.argv[0]).name)

    def end(self, error: object) -> None:
        self.is_open = False
        if self.tag:
            record(self.tag, "ended", session=self.number, error=type(error).__name__ if error else None)


class Repository:
    """Shares the session of its scope."""

    def __init__(self, session: Session) -> None:
        self.session = session


def open_session() -> Iterator[Session]:
    session = Session()
    error = yield session
    session.end(error)


async def aopen_session() -> AsyncIterator[Session]:
    session = Session()
    error = yield session
    await asyncio.sleep(0.01)  # what a closing connection does: not cancelled by the handler's timeout
    session.end(error)


def of_default() -> DefaultContainer:
    def session() -> Iterator[Session]:
        session = Session()
        try:
            yield session
        except Exception as error:
            session.end(error)
            raise
        session.end(None)

    container = DefaultContainer()
    container.register(Session, session)
    return container


def of_dishka(*, is_async: bool) -> Any:
    provider = dishka.Provider(scope=dishka.Scope.REQUEST)
    provider.provide(aopen_session if is_async else open_session, provides=Session)
    provider.provide(Repository)
    make = dishka.make_async_container if is_async else dishka.make_container
    return make(provider)


KINDS = {
    "default": of_default,
    "dishka": lambda: of_dishka(is_async=False),
    "async-dishka": lambda: of_dishka(is_async=True),
}
_handled: ContextVar[str] = ContextVar("scoped_handled")


def around(event: Any, handle: Any) -> Any:
    """Middleware, which sees every run."""
    _handled.set(event.tag)
    return handle(event)


events = claim_soon(
    EventSystem(
        os.environ.get("TEST_SYSTEM", "unset"),
        container=KINDS[os.environ.get("TEST_CONTAINER", "default")](),
        middleware=[around],
    )
)


@events.handler(Asked)
def asks(event: Asked, repository: Repository, session: Session) -> None:
    assert repository.session is session
    assert _handled.get() == event.tag
    session.use(event.tag, "asks")


@events.handler(Asked)
async def asks_soon(event: Asked, repository: Repository) -> None:
    await asyncio.sleep(0)
    repository.session.use(event.tag, "asks_soon")


@events.handler(Asked)
class Asks(EventHandler[Asked]):
    def __init__(self, repository: Repository, session: Session) -> None:
        assert repository.session is session
        self.session = session

    def handle(self, event: Asked) -> None:
        self.session.use(event.tag, "Asks")


@events.handler(Failing, retry=QUICK)
def fails(event: Failing, session: Session) -> None:
    session.use(event.tag, "fails")
    raise ValueError("no stock")


@events.handler(Hanging, retry=QUICK, timeout=1.0)
async def hangs_soon(event: Hanging, session: Session) -> None:
    session.use(event.tag, "hangs_soon")
    await asyncio.Event().wait()


@events.handler(Hanging, retry=QUICK, timeout=1.0)
def hangs(event: Hanging, session: Session) -> None:
    session.use(event.tag, "hangs")
    time.sleep(1.5)


@events.handler(Deadly)
def dies(event: Deadly, session: Session) -> None:
    number = enter(event.tag, "starts")
    session.use(event.tag, "dies")
    if number < 3:
        os.kill(os.getpid(), signal.SIGKILL)
