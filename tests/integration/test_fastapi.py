"""FastAPI: what a request emits goes out after its transaction and before its response, or not at all."""

# No `from __future__ import annotations`: FastAPI could not read those of functions within functions.

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import DependencyScopeError
from fastapi.testclient import TestClient

from events_core import EventSystem
from events_core.contrib.fastapi import held
from tests.support.watched import Ordered, Shop, Watching, emitting


@pytest.fixture
def events(redis_url: str, system_name: str) -> Iterator[EventSystem]:
    with emitting(redis_url, system_name) as events:
        events.emit(Ordered(part="first"))  # so that the queue exists
        yield events


@pytest.fixture
def shop(events: EventSystem, redis_url: str) -> Shop:
    return Shop(events, redis_url)


# What may emit in a request, each with the endpoint below it: (dependency, endpoint).


def in_endpoint(events: EventSystem, end: Callable[[], None]) -> Any:
    def endpoint() -> None:
        events.emit(Ordered())
        end()

    return endpoint


def in_async_endpoint(events: EventSystem, end: Callable[[], None]) -> Any:
    async def endpoint() -> None:
        await events.aemit(Ordered())
        end()

    return endpoint


def by_emit_in_async_endpoint(events: EventSystem, end: Callable[[], None]) -> Any:
    async def endpoint() -> None:
        events.emit(Ordered())
        end()

    return endpoint


def in_dependency(events: EventSystem, end: Callable[[], None]) -> Any:
    def dependency() -> None:
        events.emit(Ordered())

    async def endpoint(_: Annotated[None, Depends(dependency)]) -> None:
        end()

    return endpoint


def in_async_dependency(events: EventSystem, end: Callable[[], None]) -> Any:
    async def dependency() -> None:
        await events.aemit(Ordered())

    def endpoint(_: Annotated[None, Depends(dependency)]) -> None:
        end()

    return endpoint


def before_yield(events: EventSystem, end: Callable[[], None]) -> Any:
    def dependency() -> Iterator[None]:
        events.emit(Ordered())
        yield

    async def endpoint(_: Annotated[None, Depends(dependency, scope="function")]) -> None:
        end()

    return endpoint


def before_async_yield(events: EventSystem, end: Callable[[], None]) -> Any:
    async def dependency() -> AsyncIterator[None]:
        await events.aemit(Ordered())
        yield

    def endpoint(_: Annotated[None, Depends(dependency, scope="function")]) -> None:
        end()

    return endpoint


def after_yield(events: EventSystem, end: Callable[[], None]) -> Any:
    def dependency() -> Iterator[None]:
        yield
        events.emit(Ordered())
        end()

    async def endpoint(_: Annotated[None, Depends(dependency, scope="function")]) -> None: ...

    return endpoint


def after_async_yield(events: EventSystem, end: Callable[[], None]) -> Any:
    async def dependency() -> AsyncIterator[None]:
        yield
        await events.aemit(Ordered())
        end()

    def endpoint(_: Annotated[None, Depends(dependency, scope="function")]) -> None: ...

    return endpoint


PLACES = [
    in_endpoint,
    in_async_endpoint,
    by_emit_in_async_endpoint,
    in_dependency,
    in_async_dependency,
    before_yield,
    before_async_yield,
    after_yield,
    after_async_yield,
]


@pytest.mark.parametrize("place", PLACES)
class TestWhereverItIsEmitted:
    def test_it_goes_out_at_the_end_and_before_the_response(self, shop: Shop, place: Callable[..., Any]) -> None:
        shop.app.get("/")(place(shop.events, lambda: shop.look("end")))
        assert shop.get() == 200
        assert shop.seen == {"end": 1, "response": 2}

    @pytest.mark.parametrize("error", [HTTPException(409), ValueError("no")], ids=lambda error: type(error).__name__)
    def test_nothing_goes_out_if_the_request_fails(
        self, shop: Shop, place: Callable[..., Any], error: Exception
    ) -> None:
        def fail() -> None:
            raise error

        shop.app.get("/")(place(shop.events, fail))
        assert shop.get() == (409 if isinstance(error, HTTPException) else 500)
        assert shop.out() == 1


class TestTransactions:
    @pytest.mark.parametrize("listed", ["before", "after", "below"])
    def test_it_goes_out_after_the_commit_whatever_the_order(
        self, events: EventSystem, redis_url: str, listed: str
    ) -> None:
        """Of a transaction that is listed before or after held(), or is a dependency of another one."""
        shop = Shop(events, redis_url)

        async def transaction() -> AsyncIterator[str]:
            yield "transaction"
            shop.look("commit")

        def repository(below: Annotated[str, Depends(transaction, scope="function")]) -> str:
            return below

        async def endpoint() -> None:
            await events.aemit(Ordered())

        own = Depends(repository) if listed == "below" else Depends(transaction, scope="function")
        shop.app = FastAPI(dependencies=[held(events), own] if listed != "before" else [own, held(events)])
        shop.app.add_middleware(Watching, shop)
        shop.app.get("/")(endpoint)
        assert shop.get() == 200
        assert shop.seen == {"commit": 1, "response": 2}

    @pytest.mark.parametrize("first", [True, False])
    def test_nothing_goes_out_if_the_commit_fails(self, events: EventSystem, redis_url: str, first: bool) -> None:
        shop = Shop(events, redis_url)

        def transaction() -> Iterator[None]:
            yield
            raise ValueError("the commit failed")

        own = Depends(transaction, scope="function")
        shop.app = FastAPI(dependencies=[held(events), own] if first else [own, held(events)])

        @shop.app.get("/")
        async def endpoint() -> None:
            await events.aemit(Ordered())

        assert shop.get() == 500
        assert shop.out() == 1

    def test_one_that_ends_after_the_response_is_refused(self, shop: Shop) -> None:
        """FastAPI's default: the events would leave before the commit. Also where an included router has it."""

        def session() -> Iterator[None]:
            yield

        def repository(_: Annotated[None, Depends(session)]) -> None: ...

        router = APIRouter()

        @router.get("/{emits}")
        async def endpoint(emits: bool) -> None:
            if emits:
                await shop.events.aemit(Ordered())

        shop.app.include_router(router, prefix="/router", dependencies=[Depends(repository)])
        shop.app.get("/own/{emits}", dependencies=[Depends(repository)])(endpoint)
        for path in ("/router", "/own"):
            assert shop.get(f"{path}/false") == 200
            with TestClient(shop.app) as client, pytest.raises(RuntimeError, match="session runs when the response"):
                client.get(f"{path}/true")
        assert shop.out() == 1

    def test_one_that_commits_nothing_there_is_ignored_when_it_is_named(self, events: EventSystem) -> None:
        class Reading:
            def __call__(self) -> Iterator[None]:
                yield

        reading = Reading()
        app = FastAPI(dependencies=[held(events, ignore=[reading]), Depends(reading)])

        @app.get("/")
        async def endpoint() -> None:
            await events.aemit(Ordered())

        with TestClient(app) as client:
            assert client.get("/").status_code == 200

    def test_one_of_a_middleware_holds_by_itself(self, shop: Shop) -> None:
        """It commits when all dependencies have ended: what the outermost block holds goes out after that."""

        @shop.app.middleware("http")
        async def transaction(request: Request, call_next: Any) -> Any:
            async with shop.events.hold():
                response = await call_next(request)
                shop.look("commit")
                return response

        @shop.app.get("/")
        async def endpoint() -> None:
            await shop.events.aemit(Ordered())

        assert shop.get() == 200
        assert shop.seen["commit"] == 1
        assert shop.out() == 2

    def test_one_that_needs_the_system_cannot_end_late(self, events: EventSystem) -> None:
        """FastAPI refuses it when the endpoint is defined."""

        def session(events: Annotated[EventSystem, held(events)]) -> Iterator[None]:
            yield

        with pytest.raises(DependencyScopeError):
            FastAPI().get("/", dependencies=[Depends(session)])(lambda: None)


class TestOneEndpoint:
    def test_the_dependency_gives_the_system(self, events: EventSystem, redis_url: str) -> None:
        shop = Shop(events, redis_url)
        shop.app = FastAPI()

        @shop.app.post("/")
        async def endpoint(emitting: Annotated[EventSystem, held(events)]) -> None:
            assert emitting is events
            await emitting.aemit(Ordered())
            shop.look("end")

        with TestClient(shop.app) as client:
            assert client.post("/").status_code == 200
        assert shop.seen["end"] == 1
        assert shop.out() == 2

    def test_a_second_one_changes_nothing(self, shop: Shop) -> None:
        """The application holds already; the endpoint only wants the system."""

        @shop.app.get("/")
        async def endpoint(events: Annotated[EventSystem, held(shop.events)]) -> None:
            await events.aemit(Ordered())
            shop.look("end")

        assert shop.get() == 200
        assert shop.seen == {"end": 1, "response": 2}
