"""Which handlers an event reaches, in which order, and each once."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from events_core import BindError, DomainEvent, Event, EventHandler, EventMap, EventSystem
from events_core.errors import DuplicateBinding


class OrderEvent(DomainEvent, event_type="map.order"):
    pass


class Placed(OrderEvent, event_type="map.order.placed"):
    pass


class Cancelled(OrderEvent, event_type="map.order.cancelled"):
    pass


class Mailed(DomainEvent, event_type="map.mail.sent"):
    pass


class Audited:
    """A mixin that is no event."""


class Mixed(Audited, Placed, event_type="map.order.mixed"):
    pass


def first(event): ...  # type: ignore[no-untyped-def]
def second(event): ...  # type: ignore[no-untyped-def]
def third(event): ...  # type: ignore[no-untyped-def]


def names(event_map: EventMap, event: type[Event]) -> list[str]:
    return [spec.name.rpartition(".")[2] for spec in event_map.route(event)]


class TestRoutes:
    def test_in_bind_order(self) -> None:
        """The order of the bindings is that of the deliveries, whatever is bound in between."""
        event_map = EventMap()
        event_map.bind(Placed, third)
        event_map.bind(Cancelled, second)
        event_map.bind(Placed, first)
        event_map.bind(Placed, second)
        assert names(event_map, Placed) == ["third", "first", "second"]

    def test_a_handler_of_a_base_class_hears_the_subclasses(self) -> None:
        """Hole 12: subclass events are not unhandled in silence."""
        event_map = EventMap()
        event_map.bind(DomainEvent, first)
        event_map.bind(OrderEvent, second)
        event_map.bind(Placed, third)
        assert names(event_map, Placed) == ["first", "second", "third"]
        assert names(event_map, Mixed) == ["first", "second", "third"]
        assert names(event_map, OrderEvent) == ["first", "second"]
        assert names(event_map, Mailed) == ["first"]

    def test_base_classes_keep_the_bind_order_too(self) -> None:
        """What was bound first comes first, be it to a base class or to the class itself."""
        event_map = EventMap()
        event_map.bind(Placed, first)
        event_map.bind("map.*", second)
        event_map.bind(DomainEvent, third)
        assert names(event_map, Placed) == ["first", "second", "third"]

    @pytest.mark.parametrize(
        "pattern, heard",
        [
            ("map.order.*", True),
            ("map.order.placed", True),
            ("*", True),
            ("map.*.placed", True),
            ("map.order.place?", True),
            ("map.order.[op]*", True),
            ("MAP.ORDER.*", False),
            ("order.*", False),
            ("map.order", False),
        ],
    )
    def test_patterns_match_the_whole_type_name(self, pattern: str, heard: bool) -> None:
        """`"order.*"` is a shell pattern on the whole type name, with its letter case."""
        event_map = EventMap()
        event_map.bind(pattern, first)
        assert names(event_map, Placed) == (["first"] if heard else [])

    def test_a_handler_matched_in_several_ways_is_reached_once(self) -> None:
        """Hole 12: one delivery per event and handler, at the place of its first binding."""
        event_map = EventMap()
        event_map.bind("map.order.*", first)
        event_map.bind(OrderEvent, second)
        event_map.bind(OrderEvent, first)
        event_map.bind(Placed, first)
        assert names(event_map, Placed) == ["first", "second"]

    def test_binding_later_reaches_events_that_were_routed_before(self) -> None:
        """Routes are remembered, but not beyond the next binding."""
        event_map = EventMap()
        event_map.bind(Placed, first)
        assert names(event_map, Placed) == ["first"]
        event_map.bind(OrderEvent, second)
        assert names(event_map, Placed) == ["first", "second"]

    def test_nothing_bound_is_no_handler(self) -> None:
        """An empty map is false, and routes to nothing."""
        event_map = EventMap()
        assert not event_map
        assert event_map.route(Placed) == ()
        event_map.bind(Placed, first)
        assert event_map

    def test_bindings_from_many_threads_are_all_kept(self) -> None:
        """Modules may be imported by several threads at once."""
        event_map = EventMap()

        def bind(number: int) -> None:
            event_map.bind(Placed, lambda event: None, name=f"h{number}")
            event_map.route(Placed)

        threads = [threading.Thread(target=bind, args=(number,)) for number in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(names(event_map, Placed)) == sorted(f"h{number}" for number in range(40))


class TestDuplicates:
    @pytest.mark.parametrize("event", [Placed, "map.order.*"])
    def test_the_same_handler_twice_for_the_same_event(self, event: Any) -> None:
        """Hole 12: bound twice would run twice; the error names both sides."""
        event_map = EventMap()
        event_map.bind(event, first)
        with pytest.raises(DuplicateBinding, match=r"first is bound to .* already: remove one of the two"):
            event_map.bind(event, first)

    def test_two_handlers_of_one_name(self) -> None:
        """Deliveries find their handler by name."""
        event_map = EventMap()
        event_map.bind(Placed, first, name="same")
        with pytest.raises(DuplicateBinding, match=r"'same' is taken by .*first.*another name="):
            event_map.bind(Cancelled, second, name="same")

    def test_one_handler_with_two_sets_of_options(self) -> None:
        """Its Celery task can have only one."""
        event_map = EventMap()
        event_map.bind(Placed, first, queue="a")
        with pytest.raises(DuplicateBinding, match="taken with other options"):
            event_map.bind(Cancelled, first, queue="b")

    def test_an_alias_that_is_another_handlers_name(self) -> None:
        """A delivery under that name could reach either."""
        event_map = EventMap()
        event_map.bind(Placed, first, name="one")
        with pytest.raises(DuplicateBinding, match="alias 'one' is the name of another handler"):
            event_map.bind(Placed, second, name="two", aliases=["one"])

    def test_a_refused_binding_leaves_nothing_behind(self) -> None:
        """The map is as it was before the error."""
        event_map = EventMap()
        event_map.bind(Placed, first, name="one")
        for name, aliases in (("one", []), ("two", ["one"])):
            with pytest.raises(BindError):
                event_map.bind(Cancelled, second, name=name, aliases=aliases)
        assert event_map.route(Cancelled) == ()
        assert set(event_map.names) == {"one"}

    def test_one_handler_for_several_events(self) -> None:
        """That is no duplicate: it is one task, and one handler in the list."""
        event_map = EventMap()
        event_map.bind(Placed, first)
        event_map.bind(Mailed, first)
        assert names(event_map, Placed) == names(event_map, Mailed) == ["first"]
        assert len(event_map.handlers) == 1


class TestLookingUp:
    def test_by_name_and_by_alias(self) -> None:
        """DESIGN §3: deliveries under an earlier name still reach a renamed handler."""
        event_map = EventMap()
        spec = event_map.bind(Placed, first, name="new", aliases=["old", "older"])
        assert [event_map.find(name) for name in ("new", "old", "older", "unheard")] == [spec, spec, spec, None]
        assert set(event_map.names) == {"new", "old", "older"}

    def test_bindings_are_listed_in_order(self) -> None:
        """`events map` prints them as they were written."""
        event_map = EventMap()
        event_map.bind("map.*", first)
        event_map.bind(Placed, second)
        event_map.bind(OrderEvent, first)
        assert [(event, spec.name.rpartition(".")[2]) for event, spec in event_map.bindings] == [
            ("map.*", "first"),
            (Placed, "second"),
            (OrderEvent, "first"),
        ]
        assert [spec.name.rpartition(".")[2] for spec in event_map.handlers] == ["first", "second"]

    def test_the_common_base_of_all_events_is_refused(self) -> None:
        """It would promise integration events, which no handler here gets; DomainEvent is all that do."""
        with pytest.raises(BindError, match="bind to DomainEvent for all domain events"):
            EventMap().bind(Event, first)


def test_a_bare_decorator_is_told_at_once() -> None:
    """It would take the handler for the event, and bind nothing, in silence."""
    events = EventSystem("map-bare")

    def ship(event: Any) -> None: ...

    class Ship(EventHandler[Any]):
        def handle(self, event: Any) -> None: ...

    for handler in (ship, Ship):
        with pytest.raises(BindError, match=r"Ship|ship.* is a handler, .* write @events.handler\(OrderPlaced\)"):
            events.handler(handler)  # type: ignore[arg-type]
