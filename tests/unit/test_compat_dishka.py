"""The dishka provider: factory and dispatcher in the scope of a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import dishka
import pytest

from events_core.compat import DomainEvent, DomainEventDispatcher, DomainEventHandler, DomainEventHandlerRegistry
from events_core.compat.dishka import DomainEventImplementationProvider

Log = list[str]


class Noted(DomainEvent):
    type: str = "compat_dishka.noted"


class Session:
    """What repositories of one request share."""


class Write(DomainEventHandler[Noted]):
    def __init__(self, session: Session, log: Log) -> None:
        self.session, self.log = session, log

    async def handle(self, event: Noted) -> None:
        self.log.append(f"written in {id(self.session)}")


class Parts(dishka.Provider):
    scope = dishka.Scope.REQUEST
    write = dishka.provide(Write)
    open = 0

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    @dishka.provide
    def log(self) -> Log:
        return self._log

    @dishka.provide
    async def session(self) -> AsyncIterator[Session]:
        self.open += 1
        yield Session()
        self.open -= 1


class TestDishka:
    @pytest.mark.parametrize("own", [False, True])
    def test_handlers_share_the_scope_of_their_request(self, own: bool) -> None:
        """Hole 15. The registry is the default one, or that of the context."""
        log: Log = []
        parts = Parts(log)
        empty = {DomainEventHandlerRegistry: DomainEventHandlerRegistry()} if own else None

        async def request() -> int:
            container = dishka.make_async_container(DomainEventImplementationProvider(), parts, context=empty)
            async with container() as scope:
                session = await scope.get(Session)
                async with await scope.get(DomainEventDispatcher) as dispatcher:
                    dispatcher.store_event(Noted())
                assert parts.open == 1
            assert parts.open == 0
            return id(session)

        session = asyncio.run(request())
        assert log == ([] if own else [f"written in {session}"])
