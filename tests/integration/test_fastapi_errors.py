"""FastAPI: what is emitted after the endpoint, and what becomes of events when something fails."""

# No `from __future__ import annotations`: FastAPI could not read those of functions within functions.

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.testclient import TestClient

from events_core import EmitError, EventSystem
from events_core.contrib.fastapi import held
from tests.support.ports import free_port
from tests.support.waiting import wait_until
from tests.support.watched import Ordered, Shop, emitting


@pytest.fixture
def events(redis_url: str, system_name: str) -> Iterator[EventSystem]:
    with emitting(redis_url, system_name) as events:
        events.emit(Ordered(part="first"))  # so that the queue exists
        yield events


@pytest.fixture
def shop(events: EventSystem, redis_url: str) -> Shop:
    return Shop(events, redis_url)


class TestAfterTheEndpoint:
    """What runs when it has returned is not held back: nobody would send it."""

    def test_a_streamed_body(self, shop: Shop) -> None:
        async def parts() -> AsyncIterator[str]:
            yield "a"
            await shop.events.aemit(Ordered())
            shop.look("streaming")

        def sync_parts() -> Iterator[str]:
            yield "a"
            shop.events.emit(Ordered())
            shop.look("streaming")

        shop.app.get("/async", response_class=StreamingResponse)(lambda: StreamingResponse(parts()))
        shop.app.get("/sync", response_class=StreamingResponse)(lambda: StreamingResponse(sync_parts()))
        assert shop.get("/async") == 200
        assert shop.seen == {"response": 1, "streaming": 2}
        assert shop.get("/sync") == 200
        assert shop.seen == {"response": 2, "streaming": 3}

    def test_background_tasks(self, shop: Shop) -> None:
        async def later() -> None:
            await shop.events.aemit(Ordered())
            shop.look("later")

        @shop.app.get("/")
        async def endpoint(tasks: BackgroundTasks) -> None:
            tasks.add_task(later)
            tasks.add_task(shop.events.emit, Ordered())
            await shop.events.aemit(Ordered())

        assert shop.get() == 200
        assert shop.seen == {"response": 2, "later": 3}
        assert shop.out() == 4

    def test_a_task_that_outlives_the_request(self, shop: Shop) -> None:
        """It was started while the events were held, and emits at once when they no longer are."""
        tasks: list[asyncio.Task[None]] = []
        ended = asyncio.Event()

        async def outliving() -> None:
            await ended.wait()
            await shop.events.aemit(Ordered())

        @shop.app.get("/start")
        async def start() -> None:
            tasks.append(asyncio.create_task(outliving()))

        @shop.app.get("/join")
        async def join() -> None:
            ended.set()
            await tasks[0]

        with TestClient(shop.app) as client:
            assert client.get("/start").status_code == 200
            assert client.get("/join").status_code == 200
        assert shop.out() == 2

    def test_a_web_socket(self, shop: Shop) -> None:
        """It may be open for days: what it emits goes at once."""

        @shop.app.websocket("/")
        async def talk(socket: WebSocket) -> None:
            await socket.accept()
            await shop.events.aemit(Ordered())
            await socket.send_text(str(shop.out()))

        with TestClient(shop.app) as client, client.websocket_connect("/") as socket:
            assert socket.receive_text() == "2"


class TestErrors:
    @pytest.mark.parametrize("handled", [False, True])
    def test_a_broker_that_is_away_fails_the_request(self, system_name: str, handled: bool) -> None:
        """As 500, or as the application's exception handler says."""
        with emitting(f"redis://127.0.0.1:{free_port()}/0", system_name, emit_timeout=0.2) as events:
            app = FastAPI(dependencies=[held(events)])
            if handled:
                app.add_exception_handler(EmitError, lambda request, error: JSONResponse("try again", 503))

            @app.get("/")
            async def endpoint() -> str:
                await events.aemit(Ordered())
                return "done"

            with TestClient(app, raise_server_exceptions=False) as client:
                assert client.get("/").status_code == (503 if handled else 500)

    @pytest.mark.parametrize("above", [False, True])
    def test_an_error_that_a_dependency_swallows_is_one_all_the_same(
        self, events: EventSystem, redis_url: str, above: bool
    ) -> None:
        """FastAPI has no response then. Entered before held(), or after it."""
        shop = Shop(events, redis_url)

        async def swallowing() -> AsyncIterator[None]:
            try:
                yield
            except ValueError:
                pass

        own = Depends(swallowing, scope="function")
        shop.app = FastAPI(dependencies=[own, held(events)] if above else [held(events), own])

        @shop.app.get("/")
        async def endpoint() -> None:
            await events.aemit(Ordered())
            raise ValueError

        assert shop.get() == 500
        assert shop.out() == 1

    def test_a_request_while_another_error_is_handled(self, events: EventSystem, redis_url: str) -> None:
        """As a middleware may do that has caught one: it is none of this request."""
        shop = Shop(events, redis_url)

        @shop.app.get("/")
        async def endpoint() -> None:
            await events.aemit(Ordered())

        @shop.app.middleware("http")
        async def fall_back(request: Request, call_next: Any) -> Any:
            try:
                raise LookupError
            except LookupError:
                return await call_next(request)

        class PureASGI:
            def __init__(self, app: Any) -> None:
                self.app = app

            async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
                try:
                    raise LookupError
                except LookupError:
                    await self.app(scope, receive, send)

        shop.app.add_middleware(PureASGI)
        assert shop.get() == 200
        assert shop.out() == 2

    def test_an_answer_that_does_not_fit_its_model_emits_nothing(self, shop: Shop) -> None:
        @shop.app.get("/")
        async def endpoint() -> int:
            await shop.events.aemit(Ordered())
            return "no number"  # type: ignore[return-value]

        assert shop.get() == 500
        assert shop.out() == 1

    def test_requests_at_once_do_not_see_each_others_events(self, shop: Shop) -> None:
        """One fails while the other succeeds: only the other's events go out."""
        both = asyncio.Barrier(2)

        @shop.app.get("/{fails}")
        async def endpoint(fails: bool) -> None:
            await shop.events.aemit(Ordered(part=str(fails)))
            await both.wait()
            if fails:
                raise HTTPException(409)

        async def ask() -> None:
            transport = httpx.ASGITransport(shop.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
                answers = await asyncio.gather(client.get("/true"), client.get("/false"))
                assert sorted(answer.status_code for answer in answers) == [200, 409]

        asyncio.run(ask())
        wait_until(lambda: shop.out() == 2, what="the event of the request that succeeded, and no other")
