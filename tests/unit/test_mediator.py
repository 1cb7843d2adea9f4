"""Mediator: a request goes to its handler, sync or async, from sync or async code. No server is needed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import pytest

from events_core import DomainEvent, EmitError, EventSystem, NotificationEvent
from events_core.errors import BindError, ConfigurationError
from events_core.mediator import Mediator, Request, RequestHandler, RequestHandlerDoesNotExist, RequestMap
from tests.support.mediating import Always, Emitter, mediator_for

who: ContextVar[str] = ContextVar("who", default="nobody")


class Joined(DomainEvent, event_type="mediator.joined"):
    meeting_id: int


class Told(NotificationEvent, event_type="mediator.told"):
    meeting_id: int


class Join(Request):
    meeting_id: int


@dataclass(frozen=True, kw_only=True)
class Leave:
    """As diator's requests: a dataclass."""

    meeting_id: int


class Meetings:
    """What a handler gets from the container."""


class JoinHandler(RequestHandler[Join, str]):
    def __init__(self, meetings: Meetings) -> None:
        assert isinstance(meetings, Meetings)

    def handle(self, request: Join) -> str:
        self.events.append(Joined(meeting_id=request.meeting_id))
        self.events.append(Told(meeting_id=request.meeting_id))
        return f"{who.get()} joined {request.meeting_id} in {threading.get_ident()}"


class AsyncJoinHandler(RequestHandler[Join, str]):
    async def handle(self, request: Join) -> str:
        self.events.append(Joined(meeting_id=request.meeting_id))
        await asyncio.sleep(0)
        self.events.append(Told(meeting_id=request.meeting_id))
        return f"{who.get()} joined {request.meeting_id} in {threading.get_ident()}"


def plain(called: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        return called(*args)

    return call


class Decorated(RequestHandler[Join, str]):
    """A plain decorator hides that it is async."""

    @plain
    async def handle(self, request: Join) -> str:
        return await AsyncJoinHandler.handle(self, request)  # type: ignore[arg-type]


HANDLERS = [JoinHandler, AsyncJoinHandler, Decorated]


def send(mediator: Mediator, request: Any, how: str) -> Any:
    if how == "sync":
        return mediator.send(request)

    async def main() -> Any:
        return await mediator.send(request)

    return asyncio.run(main())


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("how", ["sync", "async"])
class TestSending:
    def test_the_response_and_the_events(self, handler: type[Any], how: str) -> None:
        """The caller's context is the handler's; its events leave first in, first out, in one batch."""
        mediator, emitter = mediator_for(Join, handler)
        who.set("somebody")
        assert send(mediator, Join(meeting_id=7), how).startswith("somebody joined 7 in ")
        who.set("nobody")
        (batch,) = emitter.batches
        assert [type(event) for event in batch] == [Joined, Told]

    def test_emitting_that_fails_is_told(self, handler: type[Any], how: str) -> None:
        mediator, emitter = mediator_for(Join, handler)
        emitter.failing = True
        with pytest.raises(EmitError):
            send(mediator, Join(meeting_id=7), how)


def test_a_sync_handler_never_blocks_the_loop() -> None:
    mediator, _ = mediator_for(Join, JoinHandler)
    assert not send(mediator, Join(meeting_id=7), "async").endswith(f" in {threading.get_ident()}")
    assert send(mediator, Join(meeting_id=7), "sync").endswith(f" in {threading.get_ident()}")


def test_async_handlers_of_sync_callers_share_one_loop() -> None:
    """So that a connection pool survives from one request to the next."""
    loops: list[asyncio.AbstractEventLoop] = []

    class Handler(RequestHandler[Join, None]):
        async def handle(self, request: Join) -> None:
            loops.append(asyncio.get_running_loop())

    mediator, emitter = mediator_for(Join, Handler)
    assert mediator.send(Join(meeting_id=1)) is mediator.send(Join(meeting_id=1)) is None
    assert loops[0] is loops[1]
    assert emitter.batches == []


def test_any_class_may_be_a_request() -> None:
    class Handler:
        """And any class with handle its handler."""

        def handle(self, request: Leave) -> int:
            return request.meeting_id

    mediator, _ = mediator_for(Leave, Handler)
    assert mediator.send(Leave(meeting_id=3)) == 3


def test_a_request_stays_as_it_is() -> None:
    request = Join(meeting_id=1)
    with pytest.raises(ValueError, match="frozen"):
        request.meeting_id = 2  # type: ignore[misc]
    assert hash(request) == hash(Join(meeting_id=1))


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_request_that_nobody_handles(how: str) -> None:
    mediator, _ = mediator_for(Join, JoinHandler)
    with pytest.raises(RequestHandlerDoesNotExist, match=r"no handler is bound to Leave: request_map.bind\(Leave, "):
        send(mediator, Leave(meeting_id=1), how)


def test_asend_is_a_coroutine_without_a_loop_too() -> None:
    mediator, emitter = mediator_for(Join, JoinHandler)
    assert asyncio.run(mediator.asend(Join(meeting_id=1)))
    assert len(emitter.batches) == 1


class TestContainer:
    def test_the_one_given_makes_the_handlers(self) -> None:
        class Handler(RequestHandler[Join, str]):
            def __init__(self, name: str) -> None:
                self.name = name

            def handle(self, request: Join) -> str:
                return self.name

        mediator, emitter = mediator_for(Join, Handler, container=Always(Handler("given")))
        assert mediator.send(Join(meeting_id=1)) == "given"
        emitter.container = Always(Handler("of the system"))
        assert mediator.send(Join(meeting_id=1)) == "given"
        mediator, emitter = mediator_for(Join, Handler)
        emitter.container = Always(Handler("of the system"))
        assert mediator.send(Join(meeting_id=1)) == "of the system"

    @pytest.mark.parametrize("handler", [JoinHandler, AsyncJoinHandler])
    @pytest.mark.parametrize("how", ["sync", "async"])
    def test_the_scope_ends_before_anything_is_emitted(self, handler: type[Any], how: str) -> None:
        """A session commits in it; if that fails, nothing is emitted."""
        seen: list[str] = []
        mediator, emitter = mediator_for(Join, handler, container=Scoped(seen))
        send(mediator, Join(meeting_id=1), how)
        assert seen == ["begin", "commit"]
        assert len(emitter.batches) == 1
        broken, emitter = mediator_for(Join, handler, container=Scoped(seen, failing=True))
        with pytest.raises(ConnectionError):
            send(broken, Join(meeting_id=1), how)
        assert emitter.batches == []


class Scoped:
    """A container whose scope is a transaction."""

    def __init__(self, seen: list[str], *, failing: bool = False) -> None:
        self.seen, self.failing = seen, failing

    def scope(self) -> Scoped:
        return self

    def resolve(self, wanted: Any, /) -> Any:
        return wanted(Meetings()) if wanted is JoinHandler else wanted()

    def __enter__(self) -> Scoped:
        self.seen.append("begin")
        return self

    def __exit__(self, *_: object) -> None:
        self.seen.append("commit")
        if self.failing:
            raise ConnectionError


class Log:
    """Middleware as diator's: a class with an async __call__."""

    def __init__(self, name: str, seen: list[Any]) -> None:
        self.name, self.seen = name, seen

    async def __call__(self, request: Any, handle: Any) -> Any:
        self.seen.append(self.name)
        response = await handle(request)
        self.seen.append(response)
        return self.name


def sync_log(request: Any, handle: Any) -> Any:
    return f"sync {handle(request)}"


class TestMiddleware:
    @pytest.mark.parametrize("handler", HANDLERS)
    @pytest.mark.parametrize("how", ["sync", "async"])
    def test_the_first_is_outermost(self, handler: type[Any], how: str) -> None:
        seen: list[Any] = []
        mediator, emitter = mediator_for(Join, handler, middleware=[Log("a", seen), Log("b", seen)])
        assert send(mediator, Join(meeting_id=1), how) == "a"
        assert [seen[0], seen[1], seen[3]] == ["a", "b", "b"]
        assert "joined 1" in seen[2]
        assert len(emitter.batches) == 1

    @pytest.mark.parametrize("how", ["sync", "async"])
    def test_a_sync_one_around_a_sync_handler(self, how: str) -> None:
        seen: list[Any] = []
        mediator, emitter = mediator_for(Join, JoinHandler, middleware=[Log("a", seen), sync_log])
        assert send(mediator, Join(meeting_id=1), how) == "a"
        assert seen[1].startswith("sync nobody joined 1")
        assert len(emitter.batches[0]) == 2

    def test_a_sync_one_around_an_async_handler_is_refused_when_it_is_made(self) -> None:
        said = r"Join, handled by AsyncJoinHandler: the middleware sync_log is sync, and what it wraps is async.*"
        with pytest.raises(BindError, match=said + "Write it as async def, with await handle"):
            mediator_for(Join, AsyncJoinHandler, middleware=[sync_log])
        with pytest.raises(BindError, match="the middleware sync_log is sync"):
            mediator_for(Join, JoinHandler, middleware=[sync_log, Log("a", [])])

    def test_and_at_the_first_request_where_the_handler_was_bound_later(self) -> None:
        requests = RequestMap()
        mediator = Mediator(requests, Emitter(), middleware=[sync_log])
        requests.bind(Join, AsyncJoinHandler)
        with pytest.raises(BindError, match="the middleware sync_log is sync"):
            mediator.send(Join(meeting_id=1))

    @pytest.mark.parametrize("how", ["sync", "async"])
    def test_what_it_raises_after_the_handler_emits_nothing(self, how: str) -> None:
        """As a transaction that cannot be committed."""

        async def commit(request: Any, handle: Any) -> None:
            await handle(request)
            raise ConnectionError

        mediator, emitter = mediator_for(Join, JoinHandler, middleware=[commit])
        with pytest.raises(ConnectionError):
            send(mediator, Join(meeting_id=1), how)
        assert emitter.batches == []


class Processor:
    def __init__(self) -> None:
        self.batches: list[list[Any]] = []

    def emit_events(self, events: Any, /) -> None:
        self.batches.append(["sync", *events])

    async def aemit_events(self, events: Any, /) -> None:
        self.batches.append(["async", *events])


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_processor_emits_in_place_of_the_emitter(how: str) -> None:
    processor = Processor()
    mediator, emitter = mediator_for(Join, JoinHandler, event_processor=processor)
    send(mediator, Join(meeting_id=1), how)
    assert [len(batch) for batch in processor.batches] == [3]
    assert processor.batches[0][0] == how
    assert emitter.batches == []


@pytest.mark.parametrize(
    "options, said",
    [
        ({}, "needs event_emitter=, an EventSystem"),
        ({"event_emitter": object()}, "event_emitter= takes an EventSystem.* not a object"),
        ({"event_emitter": Emitter(), "event_processor": object()}, "event_processor= takes an EventProcessor"),
    ],
)
def test_what_cannot_emit(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Mediator(RequestMap(), **options)


def test_a_system_is_an_emitter_and_its_container_makes_the_handlers() -> None:
    class Handler(RequestHandler[Join, str]):
        def __init__(self, name: str) -> None:
            self.name = name

        def handle(self, request: Join) -> str:
            return self.name

    requests = RequestMap()
    requests.bind(Join, Handler)
    events = EventSystem("mediator", broker_url="redis://localhost:1/0", container=Always(Handler("of the system")))
    assert Mediator(requests, events).send(Join(meeting_id=1)) == "of the system"
