"""What the names of other systems do: in their class bodies, in dicts, and with the only system of a process."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import textwrap
from datetime import UTC, timedelta
from pathlib import Path
from typing import ClassVar
from uuid import UUID
from weakref import WeakSet

import pytest
from pydantic import BaseModel, Field, ValidationError

from events_core import (
    BindError,
    ConfigurationError,
    EventsError,
    EventSystem,
    catalog,
    compat,
)
from events_core import system as system_module
from events_core.brokers import InMemoryBroker
from events_core.compat import ambient
from events_core.compat.waiting import WaitingHandlers
from events_core.errors import (
    DuplicateBinding,
    DuplicateEventType,
    InvalidEnvelope,
    UnknownEventType,
    UnknownEventVersion,
)
from events_core.event_map import EventMap
from events_worker.find import find_system
from tests.support.processes import ROOT, child_env


def test_each_public_name_is_there_and_says_what_it_is() -> None:
    assert set(compat.__all__) == set(compat._MODULES)
    for name in compat.__all__:
        assert getattr(compat, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'Mediator'"):
        compat.Mediator  # noqa: B018


class UserCreated(compat.DomainEvent):
    event_type: ClassVar[str] = "compat.user.created"
    user_id: UUID
    tags: dict[str, str] = {}


class Completed(compat.DomainEvent):
    type: str = "compat.completed"
    number: int


class Sorted(compat.DomainEvent, event_type="compat.sorted"):
    type: str = "by name"


class Registered(compat.EventBase):
    event_type: str = Field("compat.registered", description="as SQLModel has it")
    email: str
    full_name: str | None = None


class TestDomainEvent:
    def test_the_class_body_names_it(self) -> None:
        assert (UserCreated.event_type, Registered.event_type) == ("compat.user.created", "compat.registered")
        assert (Completed.type, Completed(number=1).type, Completed.event_type) == ("compat.completed",) * 3
        assert list(Completed.model_fields) == ["event_id", "occurred_at", "number"]

    def test_type_is_a_field_where_the_type_is_told_otherwise(self) -> None:
        assert (Sorted().type, Sorted(type="by age").type, Sorted.event_type) == ("by name", "by age", "compat.sorted")

    def test_a_subclass_is_an_event_type_of_its_own(self) -> None:
        class Late(Completed): ...

        assert (Late.type, Late.event_type, Completed.type) == ("Late", "Late", "compat.completed")

    def test_required_fields_are_required_and_nothing_changes(self) -> None:
        """Hole 9: no random user, hashable whatever the fields, frozen."""
        with pytest.raises(ValidationError):
            UserCreated()
        event = UserCreated(user_id=UUID(int=1), tags={"a": "b"})
        assert {event: 1}[event] == 1
        with pytest.raises(ValidationError):
            event.user_id = UUID(int=2)

    def test_ids_and_aware_times_are_there(self) -> None:
        """Hole 10."""
        first, second = Registered(email="a@x"), Registered(email="a@x")
        assert first.event_id < second.event_id
        assert first.event_id.version == 7
        assert first.created_at == first.occurred_at
        assert first.created_at.utcoffset() == timedelta(0)
        assert first.created_at.tzinfo is UTC

    def test_a_dataclass_decorator_is_refused(self) -> None:
        @dataclasses.dataclass(frozen=True)
        class Decorated(compat.DomainEvent):
            event_type: ClassVar[str] = "compat.decorated"

        with pytest.raises(BindError, match="decorated with @dataclass: remove it"):
            EventMap().bind(Decorated, print, name="x")

    def test_to_dict(self) -> None:
        event = UserCreated(user_id=UUID(int=1))
        written = event.to_dict()
        assert json.loads(json.dumps(written)) == {
            "event_id": str(event.event_id),
            "event_type": "compat.user.created",
            "occurred_at": event.occurred_at.isoformat(),
            "payload": {"user_id": str(UUID(int=1)), "tags": {}},
        }

    def test_payload_may_be_of_another_form(self) -> None:
        class Placed(compat.DomainEvent):
            event_type: ClassVar[str] = "compat.placed"
            amount: str = "0.00"

            def _payload(self) -> dict[str, object]:
                return {"total": {"amount": self.amount}}

        assert Placed(amount="7.00").to_dict()["payload"] == {"total": {"amount": "7.00"}}


class Address(BaseModel):
    city: str


class RegisteredV1(compat.IntegrationEvent):
    type = "compat.users.registered"
    version = 1

    email: str


class RegisteredV2(compat.IntegrationEvent):
    type: str = "compat.users.registered"
    version: int = 2

    email: str
    address: Address


class Lenient(compat.IntegrationEvent, extra="ignore"):
    type = "compat.lenient"
    version = 1

    email: str


class TestIntegrationEvent:
    def test_type_and_version_are_of_the_class_and_of_its_instances(self) -> None:
        event = RegisteredV1(email="a@x")
        assert (RegisteredV1.type, event.type, event.event_type) == ("compat.users.registered",) * 3
        assert (RegisteredV1.version, event.version) == (1, 1)
        assert RegisteredV2.version == 2

    def test_it_is_flat_and_comes_back(self) -> None:
        event = RegisteredV2(email="a@x", address=Address(city="Lyon"))
        payload = event.to_dict()
        assert payload == {
            "type": "compat.users.registered",
            "version": 2,
            "email": "a@x",
            "address": {"city": "Lyon"},
        }
        again = compat.IntegrationEvent.from_dict(payload)
        assert type(again) is RegisteredV2
        assert again.address == Address(city="Lyon")  # a model, no dict
        assert again.event_id != event.event_id

    def test_from_dict_changes_nothing(self) -> None:
        """Hole 11."""
        payload = {"type": "compat.users.registered", "version": 1, "email": "a@x"}
        before = dict(payload)
        assert RegisteredV1.from_dict(payload).email == RegisteredV1.from_dict(payload).email == "a@x"
        assert payload == before

    def test_unknown_fields_are_as_the_class_has_them(self) -> None:
        """Hole 11: an error of ours that names the field and not its value, or nothing."""
        with pytest.raises(InvalidEnvelope, match="RegisteredV1: secret: extra_forbidden") as refused:
            RegisteredV1.from_dict({"type": "compat.users.registered", "version": 1, "email": "a@x", "secret": "7c1e"})
        assert "7c1e" not in str(refused.value)
        assert Lenient.from_dict({"type": "compat.lenient", "version": 1, "email": "a@x", "more": 1}).email == "a@x"

    @pytest.mark.parametrize(
        "payload, error, words",
        [
            ({"version": 1}, InvalidEnvelope, "'type' is missing"),
            ({"type": "compat.users.registered", "email": "a@x"}, InvalidEnvelope, "no 'version'"),
            ({"type": "compat.users.registered", "version": 3}, UnknownEventVersion, "only 1, 2"),
            ({"type": "compat.nothing", "version": 1}, UnknownEventType, "no event class"),
            ({"type": "compat.users.registered", "version": 1, "email": 7}, InvalidEnvelope, "email: string_type"),
            ({"type": "compat.users.registered", "version": 1, "email": object()}, InvalidEnvelope, "JSON cannot"),
        ],
    )
    def test_what_is_wrong_is_named(self, payload: dict[str, object], error: type[EventsError], words: str) -> None:
        with pytest.raises(error, match=words):
            compat.IntegrationEvent.from_dict(payload)

    def test_another_class_is_not_given(self) -> None:
        with pytest.raises(InvalidEnvelope, match="is a Lenient, no RegisteredV1"):
            RegisteredV1.from_dict({"type": "compat.lenient", "version": 1, "email": "a@x"})

    def test_older_data_is_made_newer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(catalog, "_upcasters", {})
        catalog.upcaster("compat.users.registered", from_version=1)(_with_address)
        event = compat.IntegrationEvent.from_dict({"type": "compat.users.registered", "version": 1, "email": "a@x"})
        assert event == RegisteredV2(email="a@x", address=Address(city="?"), **_meta(event))

    def test_a_duplicate_is_refused(self) -> None:
        with pytest.raises(DuplicateEventType, match="RegisteredV1"):

            class Another(compat.IntegrationEvent):
                type = "compat.users.registered"
                version = 1


def _with_address(data: dict[str, object]) -> dict[str, object]:
    return {**data, "address": {"city": "?"}}


def _meta(event: compat.IntegrationEvent) -> dict[str, object]:
    return {"event_id": event.event_id, "occurred_at": event.occurred_at}


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process in which no test has made a system yet."""
    monkeypatch.setattr(system_module, "systems", WeakSet())
    monkeypatch.setattr(ambient, "waiting_handlers", WaitingHandlers())


def send_mail(event: Registered) -> None: ...


def count(event: Registered) -> None: ...


@pytest.mark.usefixtures("alone")
class TestAmbient:
    def test_without_a_system_publishing_says_to_make_one(self) -> None:
        with pytest.raises(ConfigurationError, match=r"Registered cannot be published: there is no EventSystem .*Make"):
            Registered(email="a@x").publish()

    def test_with_several_it_asks_which_by_name(self) -> None:
        one, two = EventSystem("compat-one", broker_url="memory://"), EventSystem("compat-two", broker_url="memory://")
        with pytest.raises(ConfigurationError, match=r"2 EventSystems \('compat-one' of .*'compat-two' of .*publish\("):
            compat.publish_event(Registered(email="a@x"))
        with pytest.raises(ConfigurationError, match=r"event_handler\('compat.registered', system=\.\.\.\)"):
            compat.event_handler("compat.registered")(send_mail)
        compat.event_handler("compat.registered", system=two)(send_mail)
        assert not one.event_map
        assert two.event_map.handlers[0].target is send_mail

    def test_with_one_it_uses_that(self) -> None:
        events = EventSystem("compat-one", broker_url="memory://")
        assert compat.event_handler("compat.registered", queue="mail")(send_mail) is send_mail
        assert events.event_map.route(Registered)[0].queue == "mail"

    def test_handlers_wait_for_the_system(self) -> None:
        """Modules register while they are imported, in any order; each handler once."""
        compat.event_handler("compat.registered")(send_mail)
        compat.EventDispatcher().register("compat.*", count)
        events = EventSystem("compat-one", broker_url="memory://")
        ambient.bind_waiting(events)
        ambient.bind_waiting(events)
        assert [spec.target for spec in events.event_map.route(Registered)] == [send_mail, count]

    def test_a_system_that_loads_its_handlers_binds_those_that_wait(self) -> None:
        """As the worker does, before it looks for queues and tasks."""
        compat.event_handler("compat.registered")(send_mail)
        events = EventSystem("compat-one", broker_url="memory://")
        events.load()
        assert [spec.target for spec in events.event_map.route(Registered)] == [send_mail]

    def test_those_that_wait_are_not_guessed_for(self) -> None:
        compat.event_handler("compat.registered")(send_mail)
        one, two = EventSystem("compat-one", broker_url="memory://"), EventSystem("compat-two", broker_url="memory://")
        for system in (one, two):
            with pytest.raises(
                ConfigurationError, match=r"send_mail was registered for 'compat.registered' before any"
            ):
                ambient.bind_waiting(system)

    def test_what_cannot_be_a_handler_is_told_where_it_stands(self) -> None:
        with pytest.raises(BindError, match="lambda"):
            compat.event_handler("compat.registered")(lambda event: None)
        with pytest.raises(BindError, match="pattern is empty"):
            compat.event_handler("")(send_mail)

    def test_a_handler_that_is_registered_twice_is_refused(self) -> None:
        """Hole 12."""
        EventSystem("compat-one", broker_url="memory://")
        kept = EventSystem("compat-one", broker_url="memory://")
        compat.event_handler("compat.registered", system=kept)(send_mail)
        with pytest.raises(DuplicateBinding, match=r"send_mail is bound to 'compat\.registered' already"):
            compat.event_handler("compat.registered", system=kept)(send_mail)


def test_importing_it_imports_no_framework() -> None:
    """Nor what another system's users need only."""
    code = (
        "import sys, events_core.compat as c; c.EventBase; c.DomainEventDispatcher\n"
        "print([m for m in ('dishka', 'sqlalchemy', 'fastapi', 'flask', 'events_core.compat.emitter') "
        "if m in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], env=child_env(), cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"


class TestEventEmitter:
    def test_it_makes_a_system_of_its_parts(self) -> None:
        bound, broker = EventMap(), InMemoryBroker()
        bound.bind(Registered, send_mail)
        emitter = compat.EventEmitter(
            event_map=bound, container=None, message_broker=broker, name="compat-emitter", broker_url="memory://"
        )
        assert emitter.system.event_map is bound
        assert emitter.system.message_broker is broker
        assert emitter.system.module == __name__

    def test_its_name_is_that_of_the_package_that_makes_it(self) -> None:
        assert compat.EventEmitter(EventMap(), broker_url="memory://").system.name == __name__.partition(".")[0]

    def test_a_given_system_has_its_own_parts(self) -> None:
        events = EventSystem("compat-given", broker_url="memory://")
        assert compat.EventEmitter(system=events, event_map=events.event_map).system is events
        with pytest.raises(ConfigurationError, match=r"EventSystem\('compat-given', event_map=\.\.\.\)"):
            compat.EventEmitter(system=events, event_map=EventMap())

    @pytest.mark.parametrize("path", ["compat_app", "compat_app:emitter"])
    def test_the_worker_finds_it(self, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        module = "from events_core.compat import EventEmitter\nemitter = EventEmitter(broker_url='memory://')\n"
        (tmp_path / "compat_app.py").write_text(textwrap.dedent(module))
        monkeypatch.syspath_prepend(tmp_path)
        try:
            assert find_system(path).name == "compat_app"
        finally:
            sys.modules.pop("compat_app", None)
