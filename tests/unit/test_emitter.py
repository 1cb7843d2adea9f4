"""emit before anything is sent: what is refused, what is warned of, what is held back. No server is needed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from events_core import (
    BindError,
    BrokerNotConfigured,
    ConfigurationError,
    DomainEvent,
    ECSTEvent,
    EmitError,
    EventMap,
    EventSystem,
    IntegrationEvent,
    NotificationEvent,
)
from events_core.emitter import DeliveryEmitter
from events_core.envelope import Envelope
from events_core.errors import EventTooLarge, HandlersNotLoaded, NotAnEvent
from events_core.ids import DerivedIds
from events_core.publishing.base import CHUNK, Deadline, publish_in_chunks
from events_core.publishing.messages import Delivery, Message, MessageBuilder
from events_core.scope import HandlingScope, handling


class Placed(DomainEvent, event_type="emitter.placed"):
    text: str = ""


class Unheard(DomainEvent, event_type="emitter.unheard"):
    pass


class Confirmed(NotificationEvent, event_type="emitter.confirmed"):
    pass


class State(ECSTEvent, event_type="emitter.state"):
    pass


class Custom(IntegrationEvent, event_type="emitter.custom"):
    pass


@dataclass
class Recorder:
    """A publisher that keeps what it is given."""

    batches: list[list[Delivery]] = field(default_factory=list)
    error: EmitError | None = None

    def publish(self, messages: Sequence[Message], timeout: float) -> None:
        self.batches.append([message.delivery for message in messages])
        if self.error is not None:
            raise self.error

    def close(self) -> None: ...


class Emitting:
    """An emitter of one handler, and what it published."""

    def __init__(self, *, handlers: int = 1, max_event_bytes: int = 1000) -> None:
        self.recorder = Recorder()
        self.map = EventMap()
        for number in range(handlers):
            self.map.bind(Placed, lambda event: None, name=f"h{number}")
        self.emitter = DeliveryEmitter(
            self.map, lambda: self.recorder, MessageBuilder("q"), timeout=1.0, max_event_bytes=max_event_bytes
        )


class TestRefused:
    @pytest.mark.parametrize("thing", [None, "text", {"event": 1}, Placed, object()])
    def test_what_is_no_event(self, thing: Any) -> None:
        """An event class in place of an instance is the common slip."""
        emitting = Emitting()
        with pytest.raises(NotAnEvent, match="is no event: emit an instance of a DomainEvent subclass"):
            emitting.emitter.emit_many([thing])
        assert emitting.recorder.batches == []

    @pytest.mark.parametrize(
        "event, name", [(Confirmed(), "NotificationEvent"), (State(), "ECSTEvent"), (Custom(), "IntegrationEvent")]
    )
    def test_an_integration_event_without_message_broker(self, event: IntegrationEvent, name: str) -> None:
        """Promise 7, in the words that users of the replaced systems match on; a RuntimeError as there."""
        with pytest.raises(RuntimeError) as caught:
            Emitting().emitter.emit_many([event])
        assert isinstance(caught.value, BrokerNotConfigured)
        assert str(caught.value).startswith(f"To use {name}, message_broker argument must be specified.")
        assert type(event).__name__ in str(caught.value)

    def test_an_oversized_event(self) -> None:
        """Refused at emit, with its size, the limit and its setting; not with its payload."""
        emitting = Emitting(max_event_bytes=500)
        with pytest.raises(EventTooLarge, match=r"emitter.placed .* has .* bytes.*MAX_EVENT_BYTES \(500\)") as caught:
            emitting.emitter.emit_many([Placed(text="sesame" * 100)])
        assert "sesame" not in str(caught.value)
        assert isinstance(caught.value, ValueError)
        emitting.emitter.emit_many([Placed(text="short")])

    def test_the_limit_counts_bytes_not_characters(self) -> None:
        """What the broker carries is UTF-8."""
        emitting = Emitting(max_event_bytes=500)
        emitting.emitter.emit_many([Placed(text="e" * 200)])
        with pytest.raises(EventTooLarge):
            emitting.emitter.emit_many([Placed(text="é" * 200)])

    def test_an_event_under_dataclass(self) -> None:
        """Also an event that nothing is bound to, or whose base class is."""
        wrapped: Any = dataclass(type("Wrapped", (Placed,), {"__module__": __name__}))
        with pytest.raises(BindError, match="remove it"):
            Emitting().emitter.emit_many([wrapped.model_construct()])

    def test_one_bad_event_stops_the_whole_batch_before_anything_is_sent(self) -> None:
        """Promise 1: emit never half-succeeds for a reason that was known beforehand."""
        for bad in (Confirmed(), Placed(text="x" * 2000), "no event"):
            emitting = Emitting()
            with pytest.raises((NotAnEvent, EventTooLarge, BrokerNotConfigured)):
                emitting.emitter.emit_many([Placed(), bad])  # type: ignore[list-item]
            assert emitting.recorder.batches == []


class TestSent:
    def test_all_deliveries_of_a_call_are_one_batch_in_order(self) -> None:
        """Item 4 and promise 8: events in order, handlers in bind order, one publish."""
        emitting = Emitting(handlers=2)
        events = [Placed(), Placed(), Placed()]
        emissions = emitting.emitter.emit_many(iter(events))
        assert [emission.event_id for emission in emissions] == [event.event_id for event in events]
        assert emitting.recorder.batches == [[d for emission in emissions for d in emission.deliveries]]
        assert [d.handler for d in emitting.recorder.batches[0]] == ["h0", "h1"] * 3

    def test_emitting_the_same_object_again_gives_the_same_deliveries(self) -> None:
        """EmitError says that this is safe: the ids are derived, not random."""
        emitting = Emitting(handlers=3)
        event = Placed()
        assert emitting.emitter.emit_many([event]) == emitting.emitter.emit_many([event])

    def test_nothing_to_do_asks_nothing_of_the_broker(self) -> None:
        """No events, or none with a handler: no connection is needed."""
        emitting = Emitting()
        assert emitting.emitter.emit_many([]) == []
        assert emitting.emitter.emit_many([Unheard()])[0].deliveries == ()
        assert asyncio.run(emitting.emitter.aemit_many([])) == []
        assert emitting.recorder.batches == []


class TestWarnings:
    def test_an_event_without_handler_is_a_warning_each_time(self, caplog: pytest.LogCaptureFixture) -> None:
        """Promise 7: it names the event."""
        emitting = Emitting()
        events = [Unheard(), Unheard()]
        with caplog.at_level(logging.WARNING):
            emitting.emitter.emit_many(events)
        assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
        for event, record in zip(events, caplog.records, strict=True):
            assert "emitter.unheard" in record.message
            assert str(event.event_id) in record.message

    def test_an_empty_map_warns_once(self, caplog: pytest.LogCaptureFixture) -> None:
        """DESIGN §3: nothing bound at all is most likely a module that was not named."""
        emitting = Emitting(handlers=0)
        with caplog.at_level(logging.WARNING):
            emitting.emitter.emit_many([Placed(), Unheard()])
            emitting.emitter.emit_many([Placed()])
        assert len(caplog.records) == 1
        assert "handlers=[...]" in caplog.records[0].message


class TestHeldBack:
    @staticmethod
    def scope() -> HandlingScope:
        return HandlingScope("delivery", "root", Envelope.of(Placed()), "emitter.placed")

    def test_inside_a_handler_emit_waits(self) -> None:
        """DESIGN §3: a failed attempt emits nothing; what is held is complete and in order."""
        emitting, scope = Emitting(), self.scope()
        with handling(scope, DerivedIds("delivery", Placed().event_id, Placed().occurred_at)):
            emissions = emitting.emitter.emit_many([Placed(), Placed()])
            emissions += asyncio.run(emitting.emitter.aemit_many([Placed()]))
        assert emitting.recorder.batches == []
        assert [message.delivery for message in scope.held] == [d for e in emissions for d in e.deliveries]
        assert {message.headers["parent_id"] for message in scope.held} == {"delivery"}

    def test_now_does_not_wait(self) -> None:
        """`emit(..., now=True)`, sync and async, still tells its cause."""
        emitting, scope = Emitting(), self.scope()
        with handling(scope, DerivedIds("delivery", Placed().event_id, Placed().occurred_at)):
            emitting.emitter.emit_many([Placed()], now=True)
            asyncio.run(emitting.emitter.aemit_many([Placed()], now=True))
        assert len(emitting.recorder.batches) == 2
        assert scope.held == []

    def test_closing_ends_the_thread_of_aemit_and_it_can_be_used_again(self) -> None:
        """An application that makes a system for each test would keep a thread of each."""
        emitting = Emitting()
        for _ in range(2):
            asyncio.run(emitting.emitter.aemit_many([Placed()]))
            batcher = emitting.emitter._batchers[0]
            assert batcher._thread is not None
            emitting.emitter.close()
            assert batcher._thread is None
        assert len(emitting.recorder.batches) == 2

    def test_refusals_do_not_wait(self) -> None:
        """An event that cannot be sent is the handler's error, not a surprise after it."""
        with handling(self.scope(), DerivedIds("delivery", Placed().event_id, Placed().occurred_at)):
            with pytest.raises(BrokerNotConfigured):
                Emitting().emitter.emit_many([Confirmed()])


class TestHandlersModules:
    def test_a_module_that_cannot_be_imported_makes_every_emit_raise(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Item 3: again and again, with its cause; once it can be imported, emit works on."""
        monkeypatch.syspath_prepend(tmp_path)
        module = tmp_path / "late_handlers.py"
        module.write_text("import no_such_module_at_all")
        system = EventSystem("shop", broker_url="redis://localhost:1", handlers=["late_handlers"])
        for _ in range(2):
            with pytest.raises(HandlersNotLoaded, match=r"'shop': 'late_handlers'.*no_such_module_at_all") as caught:
                system.emit(Unheard())
            assert isinstance(caught.value.__cause__, ModuleNotFoundError)
            assert isinstance(caught.value, ConfigurationError)
        with pytest.raises(HandlersNotLoaded):
            asyncio.run(system.aemit(Unheard()))
        module.write_text("loaded = True\n# longer than before, so that no cached bytecode fits")
        assert system.emit(Unheard()).deliveries == ()

    def test_modules_are_imported_once_and_not_before_the_first_emit(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A handlers module imports the system's module; importing it at construction would be a circle."""
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "counted_handlers.py").write_text("import builtins\nbuiltins.counted = builtins.counted + 1")
        import builtins

        monkeypatch.setattr(builtins, "counted", 0, raising=False)
        system = EventSystem("shop", broker_url="redis://localhost:1", handlers=["counted_handlers"])
        assert builtins.counted == 0  # type: ignore[attr-defined]
        system.emit(Unheard())
        system.emit(Unheard())
        assert builtins.counted == 1  # type: ignore[attr-defined]

    def test_one_module_may_be_given_as_text(self) -> None:
        """Not taken apart into letters."""
        system = EventSystem("shop", handlers="no_such_module")
        with pytest.raises(HandlersNotLoaded, match="'no_such_module'"):
            system.emit(Unheard())


class TestDecorator:
    def test_it_gives_back_what_it_decorates(self) -> None:
        """A decorated function stays callable, and may be decorated again for another event."""
        events = EventSystem("shop")

        def react(event: DomainEvent) -> str:
            return "called"

        decorated = events.handler(Placed, name="react")(events.handler("emitter.un*", name="react")(react))
        assert decorated is react
        assert [spec.name for spec in events.event_map.route(Unheard)] == ["react"]
        assert [spec.name for spec in events.event_map.route(Placed)] == ["react"]


class TestChunks:
    @staticmethod
    def messages(count: int) -> list[Message]:
        return [Message(Delivery("h", str(number), "q"), {}, b"") for number in range(count)]

    def test_large_batches_go_in_chunks(self) -> None:
        """DESIGN §4: one deadline for each chunk of at most 1,000."""
        recorder = Recorder()
        messages = self.messages(2 * CHUNK + 1)
        publish_in_chunks(recorder, messages, 1.0)
        assert [len(batch) for batch in recorder.batches] == [1000, 1000, 1]
        assert [d for batch in recorder.batches for d in batch] == [message.delivery for message in messages]

    def test_an_error_speaks_of_all_chunks(self) -> None:
        """Promise 1: those before are confirmed, those after unsent; nothing is left out or named twice."""
        messages = self.messages(3 * CHUNK)
        deliveries = [message.delivery for message in messages]

        class SecondFails(Recorder):
            def publish(self, messages: Sequence[Message], timeout: float) -> None:
                super().publish(messages, timeout)
                if len(self.batches) == 2:
                    own = self.batches[-1]
                    raise EmitError("no", confirmed=own[:10], uncertain=own[10:30], unsent=own[30:])

        recorder = SecondFails()
        with pytest.raises(EmitError) as caught:
            publish_in_chunks(recorder, messages, 1.0)
        assert len(recorder.batches) == 2
        assert caught.value.confirmed == deliveries[:1010]
        assert caught.value.uncertain == deliveries[1010:1030]
        assert caught.value.unsent == deliveries[1030:]
        assert "1010 deliveries confirmed, 20 uncertain, 1970 unsent" in str(caught.value)

    def test_a_deadline_that_has_passed_says_so(self) -> None:
        """A wait without time left is an error, not a wait without end."""
        with pytest.raises(TimeoutError, match=r"no answer within 1e-09 s"):
            Deadline(1e-9).remaining()
