"""A send that is cancelled: an async handler ends, a sync one cannot."""

from __future__ import annotations

import asyncio
import threading

import pytest

from events_core import DomainEvent
from events_core.mediator import Request, RequestHandler
from tests.support.mediating import mediator_for
from tests.support.waiting import wait_until


class Said(DomainEvent, event_type="mediator_cancelling.said"):
    what: str


class Say(Request):
    pass


class TestCancelling:
    def test_an_async_handler_ends_and_emits_nothing(self) -> None:
        class Waiting(RequestHandler[Say, None]):
            async def handle(self, request: Say) -> None:
                self.events.append(Said(what="begun"))
                await asyncio.Event().wait()

        mediator, emitter = mediator_for(Say, Waiting)
        with pytest.raises(TimeoutError):
            asyncio.run(asyncio.wait_for(mediator.asend(Say()), 0.01))
        assert emitter.batches == []

    @pytest.mark.parametrize("failing", [False, True])
    def test_a_sync_handler_goes_on_and_its_events_are_emitted(
        self, failing: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its thread cannot be ended: what it commits is committed."""
        entered, leave = threading.Event(), threading.Event()

        class Slow(RequestHandler[Say, None]):
            def handle(self, request: Say) -> None:
                entered.set()
                assert leave.wait(30)
                self.events.append(Said(what="committed"))
                if failing:
                    raise KeyError("secret")

        mediator, emitter = mediator_for(Say, Slow)

        async def main() -> None:
            sending = asyncio.ensure_future(mediator.send(Say()))
            assert await asyncio.to_thread(entered.wait, 30)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            leave.set()
            await asyncio.to_thread(wait_until, lambda: caplog.text if failing else emitter.batches)

        asyncio.run(main())
        assert [len(batch) for batch in emitter.batches] == ([] if failing else [1])
        if failing:
            assert "Say failed with KeyError after its sender was cancelled" in caplog.text
            assert "secret" not in caplog.text
