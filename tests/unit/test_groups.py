"""Groups before anything is sent: what is refused, what a completion event is made of. No server is needed."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from celery import Celery

from events_core import BindError, BrokerNotConfigured, DomainEvent, EventSystem, GroupCompleted, NotificationEvent
from events_core.envelope import Envelope
from events_core.errors import ConfigurationError, EventDefinitionError, NotAnEvent, UnknownEventType
from events_core.group_completion import Completion
from events_core.group_emitter import GroupEmitter
from events_core.groups import GroupProgress, _pauses
from events_core.ids import DerivedIds
from events_core.scope import HandlingScope, handling

COUNTS = {"group_id": "g1", "total": 6, "done": 3, "dead": 2, "cancelled": 1}


class Line(DomainEvent, event_type="groups.line"):
    number: int = 0


class Printed(GroupCompleted, event_type="groups.printed"):
    title: str = "untitled"


class Billed(GroupCompleted, event_type="groups.billed"):
    customer: str


class Told(NotificationEvent, event_type="groups.told"):
    pass


@pytest.fixture
def system() -> EventSystem:
    """Its Redis does not exist: whoever asks it fails."""
    system = EventSystem("groups", broker_url="redis://127.0.0.1:1/0", emit_timeout=0.5)
    system.bind(Line, lambda event: None, name="line")
    system.bind(Printed, lambda event: None, name="printed")
    return system


class TestRefused:
    """Before anything is sent, and before the first event is asked for."""

    def untouched(self) -> Any:
        raise AssertionError("an event was asked for")
        yield

    @pytest.mark.parametrize("number", [0, -1, 1.5, "3", True, None])
    def test_a_number_of_places_that_is_none(self, system: EventSystem, number: Any) -> None:
        with pytest.raises(ValueError, match=r"max_parallel=.* must be a whole number from 1 on"):
            system.emit_group(self.untouched(), max_parallel=number)
        with pytest.raises(ValueError, match="max_parallel="):
            asyncio.run(system.aemit_group(self.untouched(), max_parallel=number))

    @pytest.mark.parametrize("thing", [Line, Line(), "printed", object, 7])
    def test_a_completion_event_that_is_none(self, system: EventSystem, thing: Any) -> None:
        with pytest.raises(NotAnEvent, match="must be a subclass of GroupCompleted, or an instance of one"):
            system.emit_group(self.untouched(), max_parallel=1, on_complete=thing)

    def test_a_completion_event_without_its_values(self, system: EventSystem) -> None:
        with pytest.raises(
            EventDefinitionError, match=r"Billed: .*customer: missing.* give an instance, such as Billed"
        ):
            system.emit_group(self.untouched(), max_parallel=1, on_complete=Billed)

    def test_an_integration_event(self, system: EventSystem) -> None:
        with pytest.raises(BrokerNotConfigured):
            system.emit_group([Told()], max_parallel=1)

    def test_what_is_no_event(self, system: EventSystem) -> None:
        with pytest.raises(NotAnEvent):
            system.emit_group(["line"], max_parallel=1)  # type: ignore[list-item]

    def test_an_event_that_a_celery_task_is_bound_to(self, system: EventSystem) -> None:
        """Nobody would say when it is done, and its place would never be free again."""

        @Celery("other", set_as_current=False).task(name="other.task", queue="other")
        def existing() -> None: ...

        system.bind(Line, existing, args=lambda event: ())
        with pytest.raises(BindError, match=r"other.task is a Celery task of its own.* cannot be emitted in a group"):
            system.emit_group([Line()], max_parallel=1)

    def test_by_an_emitter_without_a_redis(self, system: EventSystem) -> None:
        system.emitter._turns = None
        with pytest.raises(ConfigurationError, match="this emitter has no coordination Redis"):
            GroupEmitter(system.emitter).emit_group([Line()], max_parallel=1)


class TestCompletion:
    def test_of_a_class_and_of_an_instance(self) -> None:
        for wanted, title in ((Printed, "untitled"), (Printed(title="a book", total=99), "a book")):
            completion = Completion.of(wanted, None)
            restored = Completion.restored(completion.fields()["completion"], None, COUNTS)
            assert isinstance(restored.event, Printed)
            assert restored.event.title == title
            assert restored.event.model_dump(include=set(COUNTS)) == COUNTS
            assert restored.event.event_id == completion.event.event_id
            assert restored.scope is None

    def test_the_time_is_that_of_the_completion(self) -> None:
        completion = Completion.of(Printed, None)
        restored = Completion.restored(completion.fields()["completion"], None, COUNTS)
        assert restored.event.occurred_at > completion.event.occurred_at

    def test_one_instance_makes_an_event_of_its_own_each_time(self) -> None:
        wanted = Printed(title="a book")
        ids = {Completion.of(wanted, None).event.event_id for _ in range(3)} | {wanted.event_id}
        assert len(ids) == 4

    def test_it_follows_from_what_emitted_the_group(self) -> None:
        """As an event that was emitted there: cause, correlation, hops, and Celery's ids."""
        cause = Envelope.of(Line(), Envelope.of(Line()))
        scope = HandlingScope("d1", "r1", cause, "groups.line > groups.line")
        completion = Completion.of(Printed, scope)
        fields = completion.fields()
        restored = Completion.restored(fields["completion"], fields["cause"], COUNTS)
        assert restored.scope is not None
        made, kept = (Envelope.of(one.event, one.scope and one.scope.cause) for one in (completion, restored))
        for name in ("id", "correlation_id", "causation_id", "hops", "type", "version", "kind"):
            assert getattr(made, name) == getattr(kept, name), name
        assert (kept.hops, kept.causation_id, kept.correlation_id) == (2, cause.id, cause.correlation_id)
        known = restored.scope
        assert (known.delivery_id, known.root_id, known.chain) == (scope.delivery_id, scope.root_id, scope.chain)

    def test_a_repeated_run_makes_the_same_event(self) -> None:
        cause = Line()
        ids = set()
        for _ in range(2):
            with handling(
                HandlingScope("d", "r", Envelope.of(cause), "x"), DerivedIds("d", cause.event_id, cause.occurred_at)
            ):
                ids.add(Completion.of(Printed, None).event.event_id)
        assert len(ids) == 1

    def test_a_type_that_is_not_known_here(self) -> None:
        text = Completion.of(Printed, None).fields()["completion"].replace("groups.printed", "groups.gone")
        with pytest.raises(UnknownEventType):
            Completion.restored(text, None, COUNTS)


class TestProgress:
    @pytest.mark.parametrize(
        "state, done, finished",
        [
            ("emitting", 3, False),
            ("running", 2, False),
            ("abandoned", 2, False),
            ("abandoned", 3, True),
            ("completed", 3, True),
        ],
    )
    def test_finished(self, state: Any, done: int, finished: bool) -> None:
        progress = GroupProgress(6, 3 - done, 0, 0, done, 2, 1, state)
        assert progress.finished is finished

    def test_it_stays_as_it_is(self) -> None:
        with pytest.raises(AttributeError):
            GroupProgress(1, 1, 0, 0, 0, 0, 0, "running").done = 1  # type: ignore[misc]

    def test_pauses_grow_up_to_half_a_second(self) -> None:
        pauses = list(itertools.islice(_pauses(None), 20))
        assert pauses[0] == 0
        assert pauses == sorted(pauses)
        assert pauses[-1] == 0.5

    def test_there_is_always_one_look(self) -> None:
        assert list(_pauses(0)) == [0.0]
