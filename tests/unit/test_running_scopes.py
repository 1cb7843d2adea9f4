"""Handlers within a scope of their container: what is open while they run, and how it ends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from events_core import DomainEvent, Event, EventSystem
from events_core.containers import DefaultContainer, DependencyError
from events_core.envelope import Envelope
from events_core.handlers import inspect_handler
from events_core.ids import DerivedIds
from events_core.publishing.messages import Message
from events_core.scope import HandlingScope, handling
from events_worker.retries import HandlerTimeout
from events_worker.running import Runner


class Placed(DomainEvent, event_type="scopes.placed"):
    pass


class Insisted(DomainEvent, event_type="scopes.insisted"):
    number: int


class Session:
    """Ended with its scope."""

    def __init__(self) -> None:
        self.ended = False


class Unknown:
    def __init__(self, url: str) -> None: ...


def ship(event: Placed, session: Session) -> Session:
    assert not session.ended
    return session


async def ship_soon(event: Placed, session: Session) -> Session:
    await asyncio.sleep(0)
    return ship(event, session)


class Ship:
    def __init__(self, session: Session) -> None:
        self.session = session

    def handle(self, event: Placed) -> Session:
        return ship(event, self.session)


class ShipSoon(Ship):
    async def handle(self, event: Placed) -> Session:  # type: ignore[override]
        return await ship_soon(event, self.session)


def fails(event: Placed, session: Session) -> None:
    raise ValueError("no stock")


async def fails_soon(event: Placed, session: Session) -> None:
    raise ValueError("no stock")


def asks_in_vain(event: Placed, unknown: Unknown) -> None: ...


async def asks_in_vain_soon(event: Placed, unknown: Unknown) -> None: ...


async def never(event: Placed, session: Session) -> None:
    await asyncio.Event().wait()


def sleeps(event: Placed, session: Session) -> None:
    time.sleep(60)


class Sessions:
    """The sessions of a container, and how each ended."""

    def __init__(self, *, is_async: bool = False, failing: bool = False) -> None:
        self.ends: list[BaseException | None] = []
        self.threads: set[int] = set()
        self.failing = failing
        self.container = DefaultContainer()
        self.container.register(Session, self.aopen if is_async else self.open)

    def open(self) -> Iterator[Session]:
        session = Session()
        self.threads.add(threading.get_ident())
        try:
            yield session
        except Exception as error:
            self._end(session, error)
            raise
        self._end(session, None)
        if self.failing:
            raise ConnectionError("at commit")

    async def aopen(self) -> AsyncIterator[Session]:
        session = Session()
        try:
            yield session
        except Exception as error:
            await asyncio.sleep(0.01)
            self._end(session, error)
            raise
        await asyncio.sleep(0.01)
        self._end(session, None)

    def _end(self, session: Session, error: BaseException | None) -> None:
        session.ended = True
        self.ends.append(error)


def run(handler: Any, container: Any, finish: Any = None, middleware: Any = (), **options: Any) -> Any:
    return Runner(container, middleware).run(inspect_handler(handler, name="h", **options), Placed(), finish)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync container", "async container"])
class TestScopes:
    @pytest.mark.parametrize("handler", [ship, ship_soon, Ship, ShipSoon])
    def test_it_is_open_until_what_was_returned_is_emitted(self, handler: Any, is_async: bool) -> None:
        """Hole 15: it was closed before the handler ran."""
        sessions = Sessions(is_async=is_async)
        finished: list[bool] = []
        session = run(handler, sessions.container, lambda spec, returned: finished.append(returned.ended))
        assert session.ended
        assert finished == [False]
        assert sessions.ends == [None]

    @pytest.mark.parametrize("handler", [fails, fails_soon])
    def test_a_failure_is_told(self, handler: Any, is_async: bool) -> None:
        sessions = Sessions(is_async=is_async)
        with pytest.raises(ValueError, match="no stock") as caught:
            run(handler, sessions.container)
        assert sessions.ends == [caught.value]

    @pytest.mark.parametrize("handler", [ship, ship_soon])
    def test_what_fails_to_be_emitted_is_a_failure_too(self, handler: Any, is_async: bool) -> None:
        def finish(spec: object, returned: object) -> None:
            raise TypeError("no event")

        sessions = Sessions(is_async=is_async)
        with pytest.raises(TypeError) as caught:
            run(handler, sessions.container, finish)
        assert sessions.ends == [caught.value]

    def test_a_cancelled_handlers_scope_is_ended_and_told(self, is_async: bool) -> None:
        """With an await at its end, which is not cancelled."""
        sessions = Sessions(is_async=is_async)
        with pytest.raises(HandlerTimeout):
            run(never, sessions.container, timeout=0.3)
        assert [type(error) for error in sessions.ends] == [HandlerTimeout]

    @pytest.mark.timeout(60, method="thread")  # the default method needs the signal that is tested here
    def test_one_ended_by_the_alarm_as_well(self, is_async: bool) -> None:
        sessions = Sessions(is_async=is_async)
        with pytest.raises(HandlerTimeout):
            run(sleeps, sessions.container, timeout=0.3)
        assert [type(error) for error in sessions.ends] == [HandlerTimeout]

    def test_one_that_is_late_in_a_thread_as_well(self, is_async: bool) -> None:
        """It succeeded, but its attempt failed and will be repeated: so its work is rolled back."""
        sessions = Sessions(is_async=is_async)

        def late(event: Placed, session: Session) -> None:
            started = time.monotonic()
            while time.monotonic() - started < 0.01:
                pass

        def in_thread() -> None:
            with pytest.raises(HandlerTimeout):
                run(late, sessions.container, timeout=0.005)

        thread = threading.Thread(target=in_thread)
        thread.start()
        thread.join()
        assert [type(error) for error in sessions.ends] == [HandlerTimeout]


@pytest.mark.parametrize("handler", [ship, ship_soon])
def test_a_commit_that_fails_fails_the_attempt(handler: Any) -> None:
    with pytest.raises(ConnectionError, match="at commit"):
        run(handler, Sessions(failing=True).container)


def test_a_sync_session_of_an_async_handler_stays_in_one_thread() -> None:
    """sqlite3 and others refuse to be used from two."""
    sessions = Sessions()

    async def handler(event: Placed, session: Session) -> None:
        sessions.threads.add(threading.get_ident())

    run(handler, sessions.container)
    assert len(sessions.threads) == 1


@pytest.mark.parametrize("handler", [asks_in_vain, asks_in_vain_soon])
def test_what_is_missing_names_the_handler(handler: Any) -> None:
    with pytest.raises(DependencyError, match=rf"^{handler.__name__} -> Unknown -> str: "):
        run(handler, None)


@pytest.mark.timeout(60, method="thread")  # the default method needs the signal that is tested here
@pytest.mark.parametrize("handler", [ship, ship_soon])
def test_an_async_dependency_that_hangs_is_cancelled_when_the_handler_is_ended(handler: Any) -> None:
    """Nothing of it goes on after the run."""
    ended = threading.Event()

    async def opening() -> AsyncIterator[Session]:
        try:
            await asyncio.Event().wait()
            yield Session()
        finally:
            ended.set()

    container = DefaultContainer()
    container.register(Session, opening)
    with pytest.raises(HandlerTimeout):
        run(handler, container, timeout=0.3)
    assert ended.is_set()


class TestMiddleware:
    """It is inside the scope, the first outermost, for every kind of handler."""

    def sync(self, event: Event, handle: Any) -> Any:
        self.seen.append("sync")
        result = handle(event)
        self.seen.append(f"sync {result.ended}")
        return result

    async def in_async(self, event: Event, handle: Any) -> Any:
        self.seen.append("async")
        result = await handle(event)
        self.seen.append(f"async {result.ended}")
        return result

    @pytest.mark.parametrize("handler", [ship, ship_soon, Ship, ShipSoon])
    @pytest.mark.parametrize("order", [("sync",), ("async",), ("sync", "async"), ("async", "sync")])
    @pytest.mark.parametrize("is_async", [False, True])
    def test_it_goes_around_the_handler(self, handler: Any, order: tuple[str, ...], is_async: bool) -> None:
        self.seen: list[str] = []
        sessions = Sessions(is_async=is_async)
        kinds = {"sync": self.sync, "async": self.in_async}
        session = run(handler, sessions.container, middleware=[kinds[name] for name in order], timeout=60)
        assert session.ended
        assert self.seen == [*order, *(f"{name} False" for name in reversed(order))]

    @pytest.mark.parametrize("order", [("sync",), ("async",), ("sync", "async"), ("async", "sync")])
    def test_a_timeout_ends_an_async_handler_within_any(self, order: tuple[str, ...]) -> None:
        self.seen = []
        sessions = Sessions()
        kinds = {"sync": self.sync, "async": self.in_async}
        with pytest.raises(HandlerTimeout):
            run(never, sessions.container, middleware=[kinds[name] for name in order], timeout=0.3)
        assert [type(error) for error in sessions.ends] == [HandlerTimeout]

    @pytest.mark.parametrize("in_block", [False, True])
    @pytest.mark.parametrize("is_async", [False, True])
    def test_what_a_failed_call_emitted_is_forgotten(self, is_async: bool, in_block: bool) -> None:
        """Middleware may call the handler again, or go on without it: its events are those of the call that worked."""
        system = EventSystem("scopes", broker_url="redis://127.0.0.1:1/0")
        system.bind(Insisted, lambda event: None, name="insisted")
        attempts: list[int] = []

        def attempt() -> None:
            attempts.append(1)
            system.emit(Insisted(number=len(attempts)))
            if len(attempts) < 3:
                raise ValueError

        def handler(event: Placed) -> None:
            attempt()

        async def handler_async(event: Placed) -> None:
            attempt()

        def insist(event: Event, handle: Any) -> Any:
            while True:
                try:
                    return handle(event)
                except ValueError:
                    pass

        def insist_in_a_block(event: Event, handle: Any) -> Any:
            with system.hold():
                return insist(event, handle)

        cause = Placed()
        scope = HandlingScope("d", "d", Envelope.of(cause), "x")
        with handling(scope, DerivedIds("d", cause.event_id, cause.occurred_at)):
            run(handler_async if is_async else handler, None, middleware=[insist_in_a_block if in_block else insist])
        [message] = scope.held
        assert isinstance(message, Message)
        assert b'"number":3' in message.body

    def test_threads_that_wait_for_one_another_are_never_too_few(self) -> None:
        """Sync middleware within async middleware waits in a thread of the loop's for a handler that needs another."""

        async def outer(event: Event, handle: Any) -> Any:
            return await handle(event)

        def inner(event: Event, handle: Any) -> Any:
            return handle(event)

        together = threading.Barrier(40, timeout=60)

        async def handler(event: Placed) -> None:
            await asyncio.to_thread(together.wait)

        runner = Runner(None, [outer, inner])
        spec = inspect_handler(handler, name="crowded")
        with ThreadPoolExecutor(40) as pool:
            assert [*pool.map(lambda _: runner.run(spec, Placed()), range(40))] == [None] * 40

    def test_a_handler_without_a_container_has_it_too(self) -> None:
        def changed(event: Event, handle: Any) -> Any:
            return f"changed {handle(event)}"

        assert run(lambda event: "done", None, middleware=[changed]) == "changed done"
