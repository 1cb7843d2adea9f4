"""What may be a handler, how it is named, and every error at bind time with what it tells to do."""

from __future__ import annotations

import functools
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from events_core import BindError, DomainEvent, EventHandler, EventsError, EventSystem, NotificationEvent, Retry
from events_core.event_map import EventMap
from events_core.handlers import HandlerSpec, inspect_handler
from tests.support.processes import child_env


class Placed(DomainEvent, event_type="handlers.placed"):
    order_id: int


class Cancelled(DomainEvent, event_type="handlers.cancelled"):
    order_id: int


class Notified(NotificationEvent, event_type="handlers.notified"):
    pass


def plain(event: Placed) -> None: ...


async def waiting(event: Placed) -> None: ...


def optional(event: Placed, retries: int = 3) -> None: ...


def unannotated(event): ...  # type: ignore[no-untyped-def]


def of_base(event: DomainEvent) -> None: ...


def unresolvable(event: NoSuchName) -> None: ...  # type: ignore[name-defined] # noqa: F821


def none_at_all() -> None: ...


def two(event: Placed, other: Placed) -> None: ...


def keyword_only(*, event: Placed) -> None: ...


def generator(event: Placed) -> Iterator[Placed]:
    yield event


async def async_generator(event: Placed) -> AsyncIterator[Placed]:
    yield event


class Sync(EventHandler[Placed]):
    def __init__(self, orders: object) -> None: ...

    def handle(self, event: Placed) -> None: ...


class Async(EventHandler[Placed]):
    async def handle(self, event: Placed) -> None: ...


class Duck:
    def handle(self, event: Placed) -> None: ...


class Unfinished(EventHandler[Placed]):
    pass


class WithoutHandle:
    pass


class WrongHandle:
    def handle(self) -> None: ...


class Callable_:
    def __call__(self, event: Placed) -> None: ...


class Outer:
    @staticmethod
    def inner(event: Placed) -> None: ...


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any) -> Any:
        return function(*args)

    return call


@logged
def decorated(event: Placed) -> None: ...


def bind(handler: Any, event: Any = Placed, **options: Any) -> HandlerSpec:
    return EventMap().bind(event, handler, **options)


class TestWhatMayBeBound:
    @pytest.mark.parametrize(
        "handler, kind, is_async",
        [
            (plain, "function", False),
            (waiting, "function", True),
            (optional, "function", False),
            (unannotated, "function", False),
            (of_base, "function", False),
            (unresolvable, "function", False),
            (decorated, "function", False),
            (Outer.inner, "function", False),
            (Sync, "class", False),
            (Async, "class", True),
            (Duck, "class", False),
        ],
    )
    def test_functions_and_classes_sync_and_async(self, handler: Any, kind: str, is_async: bool) -> None:
        """Hole 13: which of the two it is, is known at bind time. Annotations that say nothing are no error."""
        spec = bind(handler)
        assert (spec.kind, spec.is_async, spec.target) == (kind, is_async, handler)

    def test_names_are_module_and_qualname(self) -> None:
        """Item 3: stable names, which decorators that keep __qualname__ do not change."""
        assert bind(plain).name == f"{__name__}.plain"
        assert bind(Outer.inner).name == f"{__name__}.Outer.inner"
        assert bind(decorated).name == f"{__name__}.decorated"
        assert bind(Sync).name == f"{__name__}.Sync"

    def test_a_given_name_counts(self) -> None:
        """`name=` names the Celery task, and makes a nested function bindable."""
        assert bind(plain, name="mail.receipt").name == "mail.receipt"
        assert bind(lambda event: None, name="mail.lambda").name == "mail.lambda"

    def test_the_options_are_kept(self) -> None:
        """What the worker needs of them is in the spec."""
        retry = Retry(max_attempts=2)
        spec = bind(plain, queue="mail", retry=retry, timeout=30, aliases=["old.one", "old.two"])
        assert (spec.queue, spec.retry, spec.timeout, spec.aliases) == ("mail", retry, 30, ("old.one", "old.two"))

    def test_one_alias_may_be_given_as_text(self) -> None:
        """Not taken apart into letters."""
        assert bind(plain, aliases="old.one").aliases == ("old.one",)

    def test_the_defaults(self) -> None:
        """The retry of the docs, the system's queue, no time limit; retry=None is none."""
        spec = bind(plain)
        assert (spec.queue, spec.retry, spec.timeout, spec.aliases) == (None, Retry(), None, ())
        assert bind(plain, retry=None).retry is None

    def test_a_celery_task_that_exists_already(self) -> None:
        """`task=`: its name is the task's own, and args= says what it is called with."""
        app = Celery("handlers", set_as_current=False)

        @app.task(name="billing.charge")  # type: ignore[untyped-decorator]
        def charge(order_id: int) -> None: ...

        spec = bind(charge, args=lambda event: (event.order_id,))
        assert (spec.name, spec.kind) == ("billing.charge", "task")
        assert spec.args is not None
        assert spec.args(Placed(order_id=7)) == (7,)
        assert bind(charge, queue="theirs").queue == "theirs"

    @pytest.mark.parametrize(
        "options", [{"retry": Retry()}, {"retry": None}, {"timeout": 5}, {"aliases": ["old"]}, {"name": "other"}]
    )
    def test_options_that_a_celery_task_would_not_heed(self, options: dict[str, Any]) -> None:
        """It runs as Celery runs it: what would do nothing is an error, the defaults given explicitly included."""
        task = Celery("handlers", set_as_current=False).task(name="billing.charge")(plain)
        message = rf"{next(iter(options))}= would do nothing for billing\.charge.*Set them on the task"
        with pytest.raises(BindError, match=message):
            bind(task, **options)
        with pytest.raises(BindError, match=message):
            EventSystem("handlers").handler(Placed, task=task, **options)


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        "handler, message",
        [
            (none_at_all, r"none_at_all\(\).*takes one parameter, the event"),
            (two, r"two\(.*takes one parameter, the event"),
            (keyword_only, r"keyword_only\(.*takes one parameter, the event"),
            (generator, r"generator is a generator.*Return a list of follow-up events"),
            (async_generator, r"async_generator is a generator.*Return a list"),
            (lambda event: None, r"<lambda> cannot be imported by a worker.*module level.*name="),
            (Unfinished, r"Unfinished has no method handle\(self, event\): add it"),
            (WithoutHandle, r"WithoutHandle has no method handle\(self, event\): add it"),
            (WrongHandle, r"WrongHandle\(.*takes handle\(self, event\)"),
            (Callable_(), r"cannot be a handler: bind a function or a class with handle"),
            (functools.partial(plain), r"cannot be a handler: bind a function or a class"),
            ("handlers.plain", r"cannot be a handler: bind a function or a class"),
            (None, r"cannot be a handler: bind a function or a class"),
        ],
    )
    def test_what_a_worker_could_not_run(self, handler: Any, message: str) -> None:
        """Item 3: an error at bind time that says what to do."""
        with pytest.raises(BindError, match=message):
            bind(handler)

    def test_a_nested_function_without_a_name(self) -> None:
        """A worker could not import it; `name=` is the way out."""

        def nested(event: Placed) -> None: ...

        with pytest.raises(BindError, match=r"<locals>.nested cannot be imported.*name="):
            bind(nested)
        assert bind(nested, name="nested").target is nested

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"retry": 3}, r"retry=3 must be a Retry\(\.\.\.\) or None"),
            ({"timeout": 0}, "timeout=0 must be a number of seconds above 0"),
            ({"timeout": -1.5}, "timeout=-1.5 must be"),
            ({"timeout": True}, "timeout=True must be"),
            ({"timeout": "30"}, "timeout='30' must be"),
            ({"queue": ""}, "queue='' must be the name of a queue"),
            ({"queue": 7}, "queue=7 must be"),
            ({"name": "has blank"}, "'has blank' is empty or has blanks"),
            ({"args": lambda event: ()}, "args= belongs to an existing Celery task"),
        ],
    )
    def test_options_that_cannot_work(self, options: dict[str, Any], message: str) -> None:
        """The error names the option, its value and what it must be."""
        with pytest.raises(BindError, match=message):
            bind(plain, **options)

    def test_a_handler_annotated_for_another_event(self) -> None:
        """Hole 12: a mix-up of classes shows when binding; both are named."""
        with pytest.raises(BindError, match=r"plain takes Placed, but is bound to Cancelled"):
            bind(plain, Cancelled)
        with pytest.raises(BindError, match=r"Sync takes Placed, but is bound to Cancelled"):
            bind(Sync, Cancelled)

    @pytest.mark.parametrize("event", [int, Placed(order_id=1), None, object, dict])
    def test_what_is_no_event(self, event: Any) -> None:
        """Item 3: unknown event."""
        with pytest.raises(BindError, match="is no event class: subclass DomainEvent, or give a pattern"):
            bind(unannotated, event)

    def test_an_integration_event(self) -> None:
        """DESIGN §3: it goes to the broker and nowhere else; the error names `subscriber`."""
        with pytest.raises(BindError, match=r"Notified is an integration event.*@events\.subscriber"):
            bind(unannotated, Notified)

    def test_an_event_under_dataclass(self) -> None:
        """@dataclass would replace the model's constructor in silence: "remove it"."""
        decorated_event: Any = dataclass(
            type("Wrapped", (DomainEvent,), {"__module__": __name__, "__annotations__": {"order_id": int}})
        )
        with pytest.raises(BindError, match=r"Wrapped is decorated with @dataclass: remove it"):
            bind(unannotated, decorated_event)

    @pytest.mark.parametrize("pattern", ["", "  "])
    def test_an_empty_pattern(self, pattern: str) -> None:
        """It would never match."""
        with pytest.raises(BindError, match="pattern is empty"):
            bind(unannotated, pattern)

    def test_errors_of_binding_are_ours_and_type_errors(self) -> None:
        """They can be caught as EventsError."""
        assert issubclass(BindError, EventsError)
        assert issubclass(BindError, TypeError)


class TestMain:
    @pytest.mark.parametrize("how", [["shop.py"], ["-m", "shop"], ["-m", "pkg.shop"], ["-m", "pkg"]])
    def test_main_becomes_the_name_it_is_imported_under(self, how: list[str], tmp_path: Path) -> None:
        """DESIGN §3: a script that emits names its handlers as the worker that imports it does."""
        source = textwrap.dedent("""
            from events_core import DomainEvent, EventSystem
            events = EventSystem("shop", broker_url="redis://localhost")
            class Happened(DomainEvent): pass
            @events.handler(Happened)
            def react(event): ...
            print(events.event_map.handlers[0].name, events.module)
        """)
        (tmp_path / "pkg").mkdir()
        for name in ("shop.py", "pkg/shop.py", "pkg/__init__.py", "pkg/__main__.py"):
            (tmp_path / name).write_text("" if name.endswith("__init__.py") else source)
        ran = subprocess.run(
            [sys.executable, *how], cwd=tmp_path, env=child_env(), capture_output=True, text=True, check=False
        )
        module = how[-1].removesuffix(".py")
        assert ran.stdout.split() == [f"{module}.react", module], ran.stderr


def test_inspecting_runs_nothing() -> None:
    """Binding a class makes no instance of it: its arguments come from the container, in the worker."""

    class Exploding:
        def __init__(self) -> None:
            raise AssertionError("made while binding")

        def handle(self, event: Placed) -> None: ...

    assert inspect_handler(Exploding, name="exploding").kind == "class"
