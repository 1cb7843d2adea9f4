"""Options of a handler for limits, breakers, order and fallbacks, and every error of them at bind time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from events_core import BindError, Breaker, DomainEvent, EventHandler, EventMap, EventSystem, Limit, Rate, Retry
from events_core.errors import DuplicateBinding
from events_core.handlers import HandlerSpec


class Placed(DomainEvent, event_type="handlers.gates.placed"):
    order_id: int


class Cancelled(DomainEvent, event_type="handlers.gates.cancelled"):
    order_id: int


def charge(event: Placed) -> None: ...


def later(event: Placed) -> None: ...


async def later_async(event: Placed) -> None: ...


class Later(EventHandler[Placed]):
    def __init__(self, orders: object) -> None: ...

    async def handle(self, event: Placed) -> None: ...


def none_at_all() -> None: ...


def generator(event: Placed) -> Iterator[Placed]:
    yield event


def of_cancelled(event: Cancelled) -> None: ...


class WithoutHandle:
    pass


LIMIT, RATE, BREAKER = Limit("smtp", 10), Rate("api", 5), Breaker("db")


def bind(**options: Any) -> HandlerSpec:
    return EventMap().bind(Placed, charge, **options)


def task(name: str = "billing.charge") -> Any:
    return Celery("handlers", set_as_current=False).task(name=name)(charge)


class TestWhatIsKept:
    def test_the_defaults(self) -> None:
        """No gates and no fallback."""
        spec = bind()
        assert (spec.limits, spec.breaker, spec.ordered_by, spec.on_dead) == ((), None, None, "continue")
        assert (spec.fallback, spec.fallback_on) == (None, "exhausted")

    @pytest.mark.parametrize(
        "limit, limits",
        [
            (None, ()),
            ([], ()),
            (LIMIT, (LIMIT,)),
            (RATE, (RATE,)),
            ([LIMIT, RATE], (LIMIT, RATE)),
            ((RATE, LIMIT), (RATE, LIMIT)),
            ([Limit("x", 1), Limit("x", 1, key="order_id")], (Limit("x", 1), Limit("x", 1, key="order_id"))),
            ([Limit("x", 1), Rate("x", 1)], (Limit("x", 1), Rate("x", 1))),
        ],
    )
    def test_one_limit_or_several(self, limit: Any, limits: tuple[Limit | Rate, ...]) -> None:
        """DESIGN §3: `limit=` takes one Limit or Rate or a list of them."""
        assert bind(limit=limit).limits == limits

    def test_through_the_system_too(self) -> None:
        """As a decorator and as a call."""
        options: dict[str, Any] = {"limit": LIMIT, "breaker": BREAKER, "ordered_by": "order_id", "on_dead": "hold"}
        options |= {"fallback": later, "fallback_on": "both"}
        decorated, called = EventSystem("decorated"), EventSystem("called")
        assert decorated.handler(Placed, **options)(charge) is charge
        called.bind(Placed, charge, **options)
        assert decorated.event_map.handlers == called.event_map.handlers == (bind(**options),)
        (spec,) = called.event_map.handlers
        assert (spec.limits, spec.breaker, spec.ordered_by, spec.on_dead) == ((LIMIT,), BREAKER, "order_id", "hold")
        assert spec.fallback_on == "both"

    def test_one_handler_with_other_gates_for_another_event(self) -> None:
        """It is one task, and has one set of options."""
        event_map = EventMap()
        event_map.bind(Placed, later, limit=LIMIT)
        others: list[dict[str, Any]] = [{}, {"limit": [LIMIT, RATE]}, {"limit": LIMIT, "fallback": charge}]
        for options in others:
            with pytest.raises(DuplicateBinding, match="taken with other options"):
                event_map.bind("handlers.*", later, **options)
        event_map.bind("handlers.*", later, limit=[LIMIT])

    def test_an_option_that_there_is_not(self) -> None:
        with pytest.raises(TypeError, match="tiemout"):
            bind(tiemout=3)
        with pytest.raises(TypeError, match="tiemout"):
            EventSystem("handlers").handler(Placed, tiemout=3)(charge)  # type: ignore[call-arg]


class TestFallback:
    @pytest.mark.parametrize(
        "fallback, kind, is_async",
        [(later, "function", False), (later_async, "function", True), (Later, "class", True)],
    )
    def test_a_function_or_a_class(self, fallback: Any, kind: str, is_async: bool) -> None:
        """Inspected as a handler is; it has no retries, no gates, and the time of the handler that it stands in for."""
        name = f"{__name__}.{fallback.__qualname__}"
        spec = bind(fallback=fallback, retry=Retry(max_attempts=2), timeout=30, limit=LIMIT)
        assert spec.fallback == HandlerSpec(name, fallback, kind, is_async, retry=None, timeout=30)  # type: ignore[arg-type]
        assert spec.fallback is not None
        assert spec.fallback.limits == ()

    def test_it_is_no_task_of_its_own(self) -> None:
        """Deliveries reach its handler only: the map knows no such name, and it may be bound as a handler too."""
        event_map = EventMap()
        spec = event_map.bind(Placed, charge, name="charge", fallback=later)
        assert event_map.handlers == (spec,)
        assert set(event_map.names) == {"charge"}
        event_map.bind(Placed, later)
        event_map.bind(Placed, later_async, fallback=later)

    def test_it_needs_no_name_that_a_worker_could_import(self) -> None:
        """It comes with its handler."""
        spec = bind(fallback=lambda event: None)
        assert spec.fallback is not None
        assert "<lambda>" in spec.fallback.name

    @pytest.mark.parametrize("fallback_on", ["exhausted", "open", "both"])
    def test_when_it_runs(self, fallback_on: Any) -> None:
        assert bind(fallback=later, breaker=BREAKER, fallback_on=fallback_on).fallback_on == fallback_on

    @pytest.mark.parametrize(
        "fallback, told",
        [
            (none_at_all, r"its fallback cannot run: .*none_at_all\(\).*takes one parameter, the event"),
            (generator, r"its fallback cannot run: .*generator is a generator"),
            (WithoutHandle, r"its fallback cannot run: WithoutHandle has no method handle\(self, event\)"),
            ("later", r"its fallback cannot run: 'later' cannot be a handler: bind a function or a class"),
            (7, "its fallback cannot run: 7 cannot be a handler"),
            (task("billing.later"), "fallback=billing.later is a Celery task: give a function or class that calls it"),
            (of_cancelled, "of_cancelled takes Cancelled, but is bound to Placed"),
        ],
    )
    def test_what_cannot_be_one(self, fallback: Any, told: str) -> None:
        """The error names the handler, its fallback, and what to do."""
        with pytest.raises(BindError, match=told):
            bind(fallback=fallback)


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        "options, told",
        [
            ({"limit": 3}, r"limit=3 must be a Limit\(\.\.\.\), a Rate\(\.\.\.\), or a list of them"),
            ({"limit": "smtp"}, "limit='smtp' must be"),
            ({"limit": [LIMIT, 3]}, "limit=3 must be"),
            ({"limit": {LIMIT}}, "limit={.*} must be"),
            ({"limit": BREAKER}, r"limit=Breaker\(.*must be"),
            ({"limit": Limit}, "limit=<class .*Limit'> must be"),
            ({"limit": [LIMIT, LIMIT]}, "limit= has 'smtp' twice with the same key: keep one of the two"),
            ({"limit": [Limit("x", 1, key="order_id"), Limit("x", 2, key="order_id")]}, "'x' twice with the same key"),
            ({"limit": [RATE, Rate("api", 7)]}, "'api' twice with the same key"),
            ({"breaker": 5}, r"breaker=5 must be a Breaker\(\.\.\.\) or None"),
            ({"breaker": LIMIT}, r"breaker=Limit\(.*must be a Breaker"),
            ({"breaker": [BREAKER]}, r"breaker=\[.*must be a Breaker"),
            ({"ordered_by": 7}, "ordered_by must be the path of a field, such as 'customer_id', or a function"),
            ({"ordered_by": ""}, "ordered_by must be the path of a field"),
            ({"ordered_by": later_async}, "ordered_by must be a plain function: .* is async"),
            ({"ordered_by": "order_id", "name": "a|b"}, r"'|'"),
            ({"on_dead": "hold"}, "on_dead='hold' says what becomes of an order: give ordered_by= too"),
            ({"ordered_by": "order_id", "on_dead": "stop"}, 'on_dead=\'stop\' must be "continue" or "hold"'),
            ({"ordered_by": "order_id", "on_dead": None}, 'on_dead=None must be "continue" or "hold"'),
            ({"ordered_by": "order_id", "on_dead": []}, r'on_dead=\[\] must be "continue" or "hold"'),
            ({"fallback": later, "fallback_on": "never"}, 'fallback_on=\'never\' must be "exhausted", "open" or'),
            ({"fallback": later, "fallback_on": None}, "fallback_on=None must be"),
            ({"fallback": later, "fallback_on": "open"}, "fallback_on='open' needs a breaker.*give breaker= too"),
            ({"fallback": later, "fallback_on": "both"}, "fallback_on='both' needs a breaker"),
            ({"breaker": BREAKER, "fallback_on": "open"}, "fallback_on='open' says when.*give fallback= too"),
        ],
    )
    def test_options_that_cannot_work(self, options: dict[str, Any], told: str) -> None:
        """The error names the handler and the option, shows its value, and says what it must be."""
        with pytest.raises(BindError, match=told) as refused:
            bind(**options)
        assert str(refused.value).startswith(options.get("name", f"{__name__}.charge") + ": ")

    @pytest.mark.parametrize(
        "options",
        [
            {"limit": LIMIT},
            {"limit": []},
            {"breaker": BREAKER},
            {"ordered_by": "order_id"},
            {"on_dead": "hold"},
            {"fallback": later},
            {"fallback_on": "open"},
        ],
    )
    def test_a_celery_task_that_exists_already_heeds_none_of_them(self, options: dict[str, Any]) -> None:
        """It is published to its own queue and runs as Celery runs it, past all gates."""
        told = rf"^{next(iter(options))}= would do nothing for billing\.charge.*bind a plain function instead"
        with pytest.raises(BindError, match=told):
            EventMap().bind(Placed, task(), **options)
        with pytest.raises(BindError, match=told):
            EventSystem("handlers").handler(Placed, task=task(), **options)

    def test_all_that_a_task_would_not_heed_is_told_at_once(self) -> None:
        with pytest.raises(BindError, match=r"^retry=, limit=, breaker= would do nothing"):
            EventMap().bind(Placed, task(), retry=None, limit=LIMIT, breaker=BREAKER)
