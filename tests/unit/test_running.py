"""Running one handler: sync and async, function and class, within its time limit."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from events_core import DomainEvent, Event
from events_core.handlers import HandlerSpec, inspect_handler
from events_worker.retries import HandlerTimeout
from events_worker.running import Runner


class Placed(DomainEvent, event_type="running.placed"):
    pass


EVENT = Placed()
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


class Given:
    """A container that hands out one prepared instance."""

    def __init__(self, instance: Any) -> None:
        self._instance = instance

    def resolve(self, wanted: type[Any]) -> Any:
        return self._instance


def spec(handler: Any, **options: Any) -> HandlerSpec:
    return inspect_handler(handler, name="h", **options)


def run(handler: Any, container: Any = None, **options: Any) -> Any:
    return Runner(container).run(spec(handler, **options), EVENT)


class Sync:
    def handle(self, event: Event) -> tuple[str, Event]:
        return "sync", event


class Async:
    async def handle(self, event: Event) -> tuple[str, Event]:
        await asyncio.sleep(0)
        return "async", event


class TestKinds:
    def test_a_function(self) -> None:
        """It gets the event, and what it returns comes back."""
        assert run(lambda event: ("got", event)) == ("got", EVENT)

    def test_an_async_function(self) -> None:
        """Awaited to its end."""

        async def handler(event: Event) -> Event:
            await asyncio.sleep(0)
            return event

        assert run(handler) is EVENT

    @pytest.mark.parametrize("handler, word", [(Sync, "sync"), (Async, "async")])
    def test_a_class(self, handler: type, word: str) -> None:
        """Made without arguments where there is no container."""
        assert run(handler) == (word, EVENT)

    @pytest.mark.parametrize("handler, word", [(Sync, "sync"), (Async, "async")])
    @pytest.mark.parametrize("awaitable", [True, False])
    def test_a_class_from_a_container(self, handler: type, word: str, awaitable: bool) -> None:
        """Containers may be sync or async, whatever the handler is."""
        instance = handler()

        async def soon() -> Any:
            await asyncio.sleep(0)
            return instance

        assert run(handler, Given(soon() if awaitable else instance)) == (word, EVENT)

    def test_an_async_function_under_a_plain_decorator_runs(self) -> None:
        """Hole 13: what looks sync at bind time, but returns a coroutine, is awaited and not dropped."""
        ran = []

        def logged(function: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(function)
            def call(*args: Any) -> Any:
                return function(*args)

            return call

        @logged
        async def handler(event: Event) -> str:
            await asyncio.sleep(0)
            ran.append(event)
            return "done"

        assert not spec(handler).is_async
        assert run(handler) == "done"
        assert ran == [EVENT]

    def test_async_handlers_share_one_loop_that_stays(self) -> None:
        """Item 5: connection pools survive from one delivery to the next."""

        async def loop(event: Event) -> asyncio.AbstractEventLoop:
            return asyncio.get_running_loop()

        runner = Runner(None)
        loops = {runner.run(spec(loop), EVENT) for _ in range(3)}
        assert len(loops) == 1
        assert next(iter(loops)).is_running()

    def test_async_handlers_of_several_threads_run_at_once(self) -> None:
        """Item 5: each waits for all others inside the handler, which one after another would never end."""
        runner, inside = Runner(None), []

        async def handler(event: Event) -> None:
            inside.append(event)
            while len(inside) < 5:
                await asyncio.sleep(0.001)

        threads = [threading.Thread(target=runner.run, args=(spec(handler), EVENT)) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)

    def test_the_context_reaches_async_handlers(self) -> None:
        """The scope of the delivery travels in it: without, emit in an async handler would not be held back."""

        async def handler(event: Event) -> str:
            return variable.get()

        token = variable.set("of the caller")
        try:
            assert run(handler) == "of the caller"
        finally:
            variable.reset(token)


class TestErrors:
    @pytest.mark.parametrize("error", [ValueError("x"), MemoryError(), SystemExit(3), KeyboardInterrupt()])
    def test_what_a_handler_raises_comes_out(self, error: BaseException) -> None:
        """Also those that would end a loop for all others; the loop goes on after them."""

        def sync(event: Event) -> None:
            raise error

        async def waiting(event: Event) -> None:
            raise error

        runner = Runner(None)
        for handler in (sync, waiting):
            with pytest.raises(type(error)) as caught:
                runner.run(spec(handler), EVENT)
            assert caught.value is error

        async def fine(event: Event) -> str:
            return "fine"

        assert runner.run(spec(fine), EVENT) == "fine"


class TestTimeouts:
    def test_an_async_handler_is_cancelled(self) -> None:
        """DESIGN §3: it ends, its cleanup runs, and the outcome names the limit."""
        ended = threading.Event()

        async def handler(event: Event) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        with pytest.raises(HandlerTimeout, match=r"h ran longer than its timeout of 0.3 s"):
            run(handler, timeout=0.3)
        assert ended.is_set()

    def test_its_own_timeout_error_is_its_own(self) -> None:
        """A TimeoutError of a library inside the handler is an ordinary failure, not ours."""

        async def handler(event: Event) -> None:
            raise TimeoutError("the library's")

        with pytest.raises(TimeoutError, match="the library's"):
            run(handler, timeout=60)

    @pytest.mark.timeout(60, method="thread")  # the default method needs the signal that is tested here
    def test_a_sync_handler_in_the_main_thread_is_ended(self) -> None:
        """Prefork: even one that catches every Exception."""

        def handler(event: Event) -> None:
            while True:
                try:
                    time.sleep(60)
                except Exception:
                    pass

        with pytest.raises(HandlerTimeout, match=r"h ran longer than its timeout of 0\.3 s"):
            run(handler, timeout=0.3)

    @pytest.mark.timeout(60, method="thread")
    def test_one_that_is_fast_enough_is_not_disturbed(self) -> None:
        """No alarm goes off later."""
        assert run(lambda event: "done", timeout=0.3) == "done"
        threading.Event().wait(0.1)  # twice the limit: an alarm left behind would end this test

    def test_a_sync_handler_in_a_thread_settles_as_timed_out(self) -> None:
        """DESIGN §3: it cannot be ended there; it runs to its end and is late."""
        ended, caught = [], []

        def handler(event: Event) -> None:
            threading.Event().wait(0.05)
            ended.append(event)

        def in_thread() -> None:
            try:
                run(handler, timeout=0.01)
            except HandlerTimeout as error:
                caught.append(error)

        thread = threading.Thread(target=in_thread)
        thread.start()
        thread.join(30)
        assert ended == [EVENT]
        assert len(caught) == 1
