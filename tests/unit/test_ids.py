"""Ids: of events, of what is made while handling one, of deliveries."""

from __future__ import annotations

import contextvars
from datetime import UTC, datetime
from uuid import UUID, uuid4, uuid5

from hypothesis import given
from hypothesis import strategies as st

from events_core import DomainEvent
from events_core.envelope import Envelope
from events_core.ids import DerivedIds, delivery_id, derived_ids, new_event_id
from events_core.scope import HandlingScope, handling

CAUSE = UUID("0198c0de-1234-7abc-8def-000000000001")
EPOCH = datetime.fromtimestamp(0, UTC)


class Made(DomainEvent, event_type="ids.made"):
    pass


def derived(delivery: str = "d", cause: UUID = CAUSE, at: datetime = EPOCH) -> DerivedIds:
    return DerivedIds(delivery, cause, at)


@given(event_id=st.uuids(), handler=st.text(min_size=1), generation=st.integers(0, 1000))
def test_a_delivery_has_the_uuid5_of_event_handler_and_generation(
    event_id: UUID, handler: str, generation: int
) -> None:
    """DESIGN §1: any process, in any language, computes the same id for the same delivery."""
    assert delivery_id(event_id, handler, generation) == str(uuid5(event_id, f"{handler}:{generation}"))


def test_a_redrive_is_another_delivery() -> None:
    """The next generation has another id, so that it is not taken for a repeat."""
    assert delivery_id(CAUSE, "h", 0) != delivery_id(CAUSE, "h", 1)


def test_the_same_run_makes_the_same_ids_again() -> None:
    """Promise 2: same delivery, same position, same id: a repeat is recognised downstream."""
    first, again = derived(), derived()
    assert [first.next("thing.happened") for _ in range(50)] == [again.next("thing.happened") for _ in range(50)]


def test_other_deliveries_make_other_ids() -> None:
    """Two handlers of one event never make the same id."""
    first, other = derived("one"), derived("other")
    assert not {first.next("thing.happened") for _ in range(50)} & {other.next("thing.happened") for _ in range(50)}


def test_derived_ids_are_time_ordered_after_their_cause() -> None:
    """Promise 2: UUIDv7 that sort after the cause and in the order they were made, also beyond 4,096 of them."""
    ids = derived()
    made = [ids.next("thing.happened") for _ in range(5000)]
    assert made == sorted(made)
    assert len(set(made)) == 5000
    assert all(one > CAUSE and one.version == 7 and one.variant == CAUSE.variant for one in made)


def test_a_cause_without_time_in_its_id_lends_that_of_the_event() -> None:
    """An event with a random id, from another service: its own time takes the place of the id's."""
    milliseconds = 1_700_000_000_000
    at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    assert derived(cause=uuid4(), at=at).next("thing.happened").int >> 80 == milliseconds + 1


def test_events_made_while_handling_take_derived_ids_and_only_there() -> None:
    """The scope of a run is what decides; outside of it ids are new ones."""
    cause = Envelope.of(Made())
    scope = HandlingScope("delivery", "root", cause, cause.type)
    with handling(scope, derived()):
        inside = [Made().event_id, new_event_id("thing.happened")]
    ids = derived()
    assert inside == [ids.next(Made.event_type), ids.next("thing.happened")]
    assert derived_ids.get() is None
    assert Made().event_id != Made().event_id


def test_another_type_at_the_same_position_has_another_id() -> None:
    """A repeat that takes another branch makes another event, which nothing downstream may take for the first."""
    assert derived().next("card.charged") != derived().next("card.charged.before")


def test_what_outlives_the_run_makes_new_ids() -> None:
    """A task that the handler started goes on with the context of the run, but the run is over."""
    cause = Envelope.of(Made())
    with handling(HandlingScope("delivery", "root", cause, cause.type), derived()):
        later = contextvars.copy_context()
    first, second = later.run(lambda: Made().event_id), later.run(lambda: Made().event_id)
    ids = derived()
    assert {first, second}.isdisjoint({ids.next(Made.event_type), ids.next(Made.event_type)})
