"""From a handler's policies and an event to the gates of a delivery, and what the handlers of a system define."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

import pytest
from pydantic import BaseModel

from events_core import BindError, Breaker, DomainEvent, EventMap, Limit, Rate
from events_core.admission.gates import DEFAULT_LEASE, Passage, has_gates, passage
from events_core.gate_definitions import definitions
from events_core.handlers import HandlerSpec, inspect_handler

ORDER = UUID("0198c0de-0000-7000-8000-000000000007")


class Size(StrEnum):
    SMALL = "small"


class Street(BaseModel):
    name: str


class Address(BaseModel):
    city: str | None = None
    street: Street = Street(name="Main")

    @property
    def label(self) -> str:
        return f"to {self.city}"


class Placed(DomainEvent, event_type="gates.placed"):
    region: ClassVar[str] = "eu"
    order_id: UUID = ORDER
    tenant: str | None = None
    number: int = 7
    size: Size = Size.SMALL
    address: Address = Address(city="Rome")
    billing: Address | None = None
    labels: dict[str, str] = {}

    @property
    def half(self) -> str:
        return f"{self.tenant}:{self.number // 2}"


class Cancelled(DomainEvent, event_type="gates.cancelled"):
    customer: str = "acme"


def react(event): ...  # type: ignore[no-untyped-def]
def respond(event): ...  # type: ignore[no-untyped-def]


def spec(**options: Any) -> HandlerSpec:
    return inspect_handler(react, name="h", **options)


class TestPassage:
    def test_all_gates_in_their_order(self) -> None:
        """Order and group first, for they are kept while the delivery waits at one behind them; rates last."""
        handler = spec(
            ordered_by="order_id",
            breaker=Breaker("db"),
            limit=[Rate("api", 5, key="tenant"), Limit("all", 4), Rate("sum", 9), Limit("each", 2, key="tenant")],
        )
        assert passage(handler, Placed(tenant="acme"), group="g1", paused=True).gates == [
            f"order:h|{ORDER}",
            "group:g1|",
            "pause:h|",
            "breaker:db|",
            "limit:all|",
            "limit:each|acme",
            "rate:api|acme",
            "rate:sum|",
        ]

    @pytest.mark.parametrize(
        "options, group, paused, gates",
        [
            ({}, None, False, []),
            ({}, "g1", False, ["group:g1|"]),
            ({}, None, True, ["pause:h|"]),
            ({"ordered_by": "number"}, None, False, ["order:h|7"]),
            ({"breaker": Breaker("db")}, None, False, ["breaker:db|"]),
            ({"limit": Limit("smtp", 1)}, None, False, ["limit:smtp|"]),
            ({"limit": Rate("api", 1)}, None, False, ["rate:api|"]),
            ({"ordered_by": "number"}, "g1", True, ["order:h|7", "group:g1|", "pause:h|"]),
        ],
    )
    def test_only_those_that_there_are(
        self, options: dict[str, Any], group: str | None, paused: bool, gates: list[str]
    ) -> None:
        """A handler without any asks nobody."""
        handler = spec(**options)
        assert passage(handler, Placed(), group=group, paused=paused) == Passage(gates, DEFAULT_LEASE)
        assert has_gates(handler) is bool(options)

    @pytest.mark.parametrize(
        "key, value",
        [
            ("tenant", "None"),
            ("number", "7"),
            ("order_id", str(ORDER)),
            ("size", "small"),
            ("half", "None:3"),
            ("region", "eu"),
            ("event_type", "gates.placed"),
            ("address.city", "Rome"),
            ("address.street.name", "Main"),
            ("address.label", "to Rome"),
            (lambda event: event.number % 4, "3"),
            (lambda event: (event.tenant, event.number), "(None, 7)"),
            (lambda event: None, "None"),
            (lambda event: "a|b c", "a|b c"),
        ],
    )
    def test_what_a_key_gives(self, key: str | Callable[[Any], object], value: str) -> None:
        """Paths and functions, as text; None is a key like any other and not the absence of one."""
        for options in ({"ordered_by": key}, {"limit": Limit("x", 1, key=key)}, {"limit": Rate("x", 1, key=key)}):
            (gate,) = passage(spec(**options), Placed()).gates
            assert gate.partition("|")[2] == value

    def test_two_keys_of_one_limit_with_the_same_value_are_one_gate(self) -> None:
        """A delivery takes one place of it, and not one for each key."""
        limits = [Limit("x", 2, key="tenant"), Limit("x", 2, key="number"), Limit("x", 2)]
        handler = spec(limit=limits)
        assert passage(handler, Placed(tenant="7")).gates == ["limit:x|7", "limit:x|"]
        assert passage(handler, Placed(tenant="8")).gates == ["limit:x|8", "limit:x|7", "limit:x|"]

    @pytest.mark.parametrize(
        "limits, lease",
        [
            ([Limit("a", 1, lease=2.5)], 2500),
            ([Limit("a", 1), Limit("b", 1, lease=5), Limit("c", 1, lease=60)], 5000),
            ([Limit("a", 1, lease=120), Rate("b", 1)], 120_000),
        ],
    )
    def test_the_lease_is_the_shortest_of_the_limits(self, limits: list[Limit | Rate], lease: int) -> None:
        """In milliseconds."""
        assert passage(spec(limit=limits), Placed()).lease == lease

    def test_a_key_that_is_no_text(self) -> None:
        """Such as the name of a file that is no UTF-8: sent to Redis, it would fail others as well."""
        for text in ("invoice-\udce9.pdf", "\ud83d"):
            with pytest.raises(ValueError, match=r"gates\.placed .* has a key that is no valid text"):
                passage(spec(limit=Limit("x", 1, key="tenant")), Placed(tenant="a").model_copy(update={"tenant": text}))
        assert passage(spec(limit=Limit("x", 1, key="tenant")), Placed(tenant="é😀")).gates == ["limit:x|é😀"]

    def test_what_a_key_raises_is_raised(self) -> None:
        """The application's error, and the missing part of a path that could not be checked before."""
        with pytest.raises(ZeroDivisionError):
            passage(spec(ordered_by=lambda event: event.number / 0), Placed())
        with pytest.raises(ValueError, match="which is a key"):
            passage(spec(ordered_by="billing.city"), Placed())


class TestDefinitions:
    def test_as_the_scripts_read_them(self) -> None:
        """Places; interval in milliseconds and burst; failures and milliseconds; what becomes of a dead one."""
        handlers = [
            spec(ordered_by="order_id", breaker=Breaker("db", fail_max=3, reset=1.5)),
            inspect_handler(respond, name="k", ordered_by="order_id", on_dead="hold", limit=Limit("smtp", 10)),
            inspect_handler(respond, name="m", limit=[Rate("api", 3, per=2, burst=4), Rate("slow", 1, per=60)]),
            inspect_handler(respond, name="n"),
        ]
        assert definitions(handlers) == {
            "order:h": "continue",
            "breaker:db": "3 1500",
            "order:k": "hold",
            "limit:smtp": "10",
            "rate:api": "666.666667 4",
            "rate:slow": "60000.000000 1",
        }

    @pytest.mark.parametrize("rate", [Rate("api", 1_000_000), Rate("api", 1, per=0.000_001)])
    def test_no_interval_is_rounded_to_nothing(self, rate: Rate) -> None:
        assert definitions([spec(limit=rate)]) == {"rate:api": "0.001000 1"}

    def test_nothing_is_defined_by_handlers_without_gates(self) -> None:
        assert definitions([]) == definitions([spec()]) == {}


CONTRADICTIONS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("limit 'x'", {"limit": Limit("x", 1)}, {"limit": Limit("x", 2)}),
    ("limit 'x'", {"limit": Limit("x", 1)}, {"limit": Limit("x", 1, lease=5)}),
    ("limit 'x'", {"limit": Limit("x", 1)}, {"limit": [Limit("y", 2), Limit("x", 2, key="number")]}),
    ("rate 'x'", {"limit": Rate("x", 1)}, {"limit": Rate("x", 2)}),
    ("rate 'x'", {"limit": Rate("x", 1)}, {"limit": Rate("x", 1, per=2)}),
    ("rate 'x'", {"limit": Rate("x", 1)}, {"limit": Rate("x", 1, burst=2)}),
    ("breaker 'x'", {"breaker": Breaker("x")}, {"breaker": Breaker("x", fail_max=3)}),
    ("breaker 'x'", {"breaker": Breaker("x")}, {"breaker": Breaker("x", reset=5)}),
]


class TestOneNameIsOneGate:
    @pytest.mark.parametrize("what, one, other", CONTRADICTIONS)
    def test_two_handlers_that_contradict_each_other(
        self, what: str, one: dict[str, Any], other: dict[str, Any]
    ) -> None:
        """An error when the second is bound, which names both and what each says; the map is as it was before."""
        event_map = EventMap()
        event_map.bind(Placed, react, name="one", **one)
        with pytest.raises(BindError, match=rf"^other and one define the {what} as .*Define it once and share it"):
            event_map.bind(Placed, respond, name="other", **other)
        assert [handler.name for handler in event_map.handlers] == ["one"]
        assert event_map.route(Placed) == (event_map.find("one"),)
        event_map.bind(Placed, respond, name="other")

    @pytest.mark.parametrize("event", [Placed, "gates.*"])
    def test_a_handler_that_contradicts_itself(self, event: Any) -> None:
        with pytest.raises(BindError, match=r"^h defines the limit 'x' as .*max=2.* and as .*max=1"):
            EventMap().bind(event, react, name="h", limit=[Limit("x", 1), Limit("x", 2, key="number")])

    def test_what_is_no_contradiction(self) -> None:
        """The same definition written twice; other keys, which belong to the events; a limit and a rate of one name."""
        event_map = EventMap()
        event_map.bind(Placed, react, name="a", limit=Limit("x", 1, key="tenant"), breaker=Breaker("x"))
        event_map.bind(Cancelled, react, name="b", limit=Limit("x", 1, key="customer"), breaker=Breaker("x"))
        event_map.bind(Cancelled, react, name="c", limit=[Rate("x", 5), Limit("x", 1, lease=30)])
        assert definitions(event_map.handlers) == {
            "limit:x": "1",
            "breaker:x": "5 60000",
            "rate:x": "200.000000 1",
        }

    def test_a_handler_of_two_events_defines_its_gates_once(self) -> None:
        event_map = EventMap()
        for event in (Placed, Cancelled):
            event_map.bind(event, react, name="h", limit=Limit("x", 1), ordered_by="event_id")
        assert len(event_map.handlers) == 1

    def test_other_systems_have_other_gates(self) -> None:
        """Their keys in Redis differ."""
        for most in (1, 2):
            EventMap().bind(Placed, react, name="h", limit=Limit("x", most))


def with_key(key: Any) -> list[dict[str, Any]]:
    return [{"ordered_by": key}, {"limit": Limit("x", 1, key=key)}, {"limit": [Limit("y", 1), Rate("x", 1, key=key)]}]


class TestKeysFitTheEvent:
    @pytest.mark.parametrize(
        "key, told",
        [
            ("customer", "Placed has no field 'customer'; it has .*order_id, tenant"),
            ("adress.city", "Placed has no field 'adress'"),
            ("address.town", "Address has no field 'town'; it has city, street"),
            ("address.street.number", "Street has no field 'number'; it has name"),
            ("model_dump", "Placed has no field 'model_dump'"),
            ("number.x", "'number' of Placed has the type int, which has no field 'x'"),
            ("order_id.x", "'order_id' of Placed has the type UUID, which has no field 'x'"),
            ("labels.x", "'labels' of Placed has the type dict, which has no field 'x'"),
        ],
    )
    def test_a_path_that_no_event_has(self, key: str, told: str) -> None:
        """Told when binding, with the fields that there are, and not by the first delivery."""
        for options in with_key(key):
            with pytest.raises(BindError, match=rf"^h: .*{told}.*or give a function of the event"):
                EventMap().bind(Placed, react, name="h", **options)

    @pytest.mark.parametrize(
        "key",
        [
            *("tenant", "half", "region", "event_id", "address.label", "billing.anything", "occurred_at.year"),
            lambda event: event.none,
        ],
    )
    def test_what_only_an_event_can_tell(self, key: Any) -> None:
        """Fields, properties, class attributes; what is behind an optional one, and functions, are not looked into."""
        for options in with_key(key):
            EventMap().bind(Placed, react, name="h", **options)

    def test_a_pattern_names_no_class_to_check(self) -> None:
        """Its classes may not be defined yet."""
        for options in with_key("customer"):
            EventMap().bind("gates.*", react, name="h", **options)

    def test_each_event_of_a_handler_is_checked(self) -> None:
        event_map = EventMap()
        event_map.bind(Placed, react, name="h", ordered_by="tenant")
        with pytest.raises(BindError, match=r"Cancelled has no field 'tenant'; it has .*customer"):
            event_map.bind(Cancelled, react, name="h", ordered_by="tenant")
        assert event_map.route(Cancelled) == ()
