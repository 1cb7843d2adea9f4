"""The checks that need no server."""

from __future__ import annotations

import logging
import socket
from typing import Any, Protocol

import pytest
from celery import Celery

from events_core import DomainEvent, EventHandler, EventSystem
from events_worker.checks import Finding, findings, log_findings, static_findings
from events_worker.checks.servers import judge

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a static check touches the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def system(**settings: Any) -> EventSystem:
    return EventSystem("checked", **{"broker_url": NOWHERE, **settings})


def texts(checked: EventSystem, level: str, about: str) -> list[str]:
    """The findings of a level that hold the text; other tests' event classes have findings too."""
    return [finding.text for finding in static_findings(checked) if finding.level == level and about in finding.text]


class TestEvents:
    def test_a_name_not_of_the_form_entity_action(self) -> None:
        class Shipped(DomainEvent): ...

        class AlmostShipped(DomainEvent, event_type="Parcel.shipped"): ...

        class WellShipped(DomainEvent, event_type="parcel.well_shipped.v2"): ...

        assert all((Shipped, AlmostShipped, WellShipped))  # kept alive: the catalog's references are weak
        [one] = texts(system(), "warning", "'Shipped'")
        assert "is not of the form entity.action" in one
        assert texts(system(), "warning", "'Parcel.shipped'")
        assert not texts(system(), "warning", "'parcel.well_shipped.v2'")

    def test_no_handler(self) -> None:
        class ParcelEvent(DomainEvent): ...

        class Lost(ParcelEvent, event_type="parcel.lost"): ...

        checked = system()
        assert texts(checked, "warning", "parcel.lost v1")[0].endswith("has no handler: emitting it does nothing")
        assert not texts(checked, "warning", "ParcelEvent v1")  # a base class is not emitted itself
        checked.bind(ParcelEvent, lambda event: None, name="search")
        assert not texts(checked, "warning", "parcel.lost")
        assert Lost

    def test_a_pattern_that_fits_nothing(self) -> None:
        class Found(DomainEvent, event_type="parcel.found"): ...

        checked = system()
        checked.bind("parcel.*", lambda event: None, name="fits")
        checked.bind("parcell.*", lambda event: None, name="odd")
        checked.bind("parcel.fund", lambda event: None, name="exact")
        assert [text.split()[0] for text in texts(checked, "warning", "fits no known")] == ["odd", "exact"]
        assert Found

    def test_an_empty_map(self) -> None:
        assert texts(system(), "warning", "the event map of 'checked' is empty")


class TestHandlers:
    def test_a_sync_handler_with_a_timeout(self) -> None:
        class Weighed(DomainEvent, event_type="parcel.weighed"): ...

        async def well(event: Any) -> None: ...

        def ill(event: Any) -> None: ...

        checked = system()
        checked.bind(Weighed, well, name="well", timeout=3)
        checked.bind(Weighed, ill, name="ill", timeout=3)
        [text] = texts(checked, "warning", "timeout=")
        assert text.startswith("ill is a sync handler with timeout=3")

    def test_longer_than_the_visibility_timeout(self) -> None:
        class Sunk(DomainEvent, event_type="parcel.sunk"): ...

        async def dive(event: Any) -> None: ...

        checked = system(redis_transport="stock")
        checked.bind(Sunk, dive, name="dive", timeout=3600)
        assert texts(checked, "warning", "visibility_timeout of 3600 s")

    def test_a_class_that_nobody_can_instantiate(self) -> None:
        class Packed(DomainEvent, event_type="parcel.packed"): ...

        class Needy(EventHandler[Packed]):
            def __init__(self, stock: Stock, *, most: int = 3, **more: object) -> None: ...

            def handle(self, event: Packed) -> None: ...

        class Modest(EventHandler[Packed]):
            def handle(self, event: Packed) -> None: ...

        class Shelf:
            def resolve(self, wanted: type) -> Any:
                return wanted()

        def bound(**settings: Any) -> EventSystem:
            checked = system(**settings)
            checked.bind(Packed, Needy, name="needy")
            checked.bind(Packed, Modest, name="modest")
            return checked

        [text] = texts(bound(), "error", "needy")
        assert text.startswith(
            f"needy cannot run: {Needy.__qualname__} -> Stock: nothing makes a Stock; register(Stock"
        )
        assert text.endswith("(the system has no container yet: EventSystem('checked', container=DefaultContainer()))")
        assert not texts(bound(container=Shelf()), "error", "needy")


class Stock(Protocol):
    """Nobody can tell from its type how to make one."""


class TestBroker:
    def test_none(self) -> None:
        assert texts(EventSystem("checked"), "error", "EVENTS_BROKER_URL is not set")

    def test_rabbitmq_without_a_coordination_redis(self) -> None:
        assert texts(system(broker_url="amqp://u:p@localhost//"), "error", "EVENTS_REDIS_URL is not set")

    def test_neither_redis_nor_rabbitmq(self) -> None:
        checked = EventSystem("checked", celery=Celery(broker="memory://"), redis_url=NOWHERE)
        assert texts(checked, "error", "neither Redis nor RabbitMQ")

    def test_the_stock_transport_by_choice(self) -> None:
        [text] = texts(system(redis_transport="stock"), "warning", "kombu's own transport")
        assert text.startswith("EVENTS_REDIS_TRANSPORT=stock keeps")
        assert "then unset it" in text

    def test_our_own_app_lacks_nothing(self) -> None:
        for url in (NOWHERE, "amqp://u:p@localhost//"):
            assert not texts(system(broker_url=url, redis_url=NOWHERE), "warning", "Celery app")
            assert not texts(system(broker_url=url, redis_url=NOWHERE), "deploy", "Celery app")


class TestRedis:
    @pytest.mark.parametrize("version", ["2.8.17", "5.0.14", "6.0.16"])
    def test_too_old(self, version: str) -> None:
        [finding] = judge("the broker redis://old", {"redis_version": version, "aof_enabled": 1})
        assert finding == Finding("error", f"the broker redis://old is version {version}: 6.2 or newer is needed")

    @pytest.mark.parametrize("version", ["6.2.0", "7.0.15", "10.1", "", None])
    def test_new_enough_or_not_told(self, version: str | None) -> None:
        assert not [*judge("the broker redis://new", {"redis_version": version or "", "aof_enabled": 1})]


class Weighty(DomainEvent, event_type="parcel.weighty"): ...


GOOD: dict[str, Any] = {
    "broker_connection_retry_on_startup": True,
    "broker_transport_options": {"confirm_publish": True},
    "worker_prefetch_multiplier": 4,
    "worker_enable_prefetch_count_reduction": False,
}


class TestGivenApp:
    def given(self, url: str, **settings: Any) -> EventSystem:
        app = Celery("theirs", broker=url)
        app.conf.update({**GOOD, **settings})
        return EventSystem("checked", celery=app, redis_url=NOWHERE)

    @pytest.mark.parametrize(
        "level, settings, said",
        [
            ("deploy", {"broker_transport_options": {}}, "without confirms"),
            ("warning", {"worker_prefetch_multiplier": 5}, "worker_prefetch_multiplier=5"),
            ("warning", {"worker_prefetch_multiplier": 0}, "worker_prefetch_multiplier=0 (no limit)"),
            ("warning", {"accept_content": ["json", "pickle"]}, "accepts pickle"),
            ("warning", {"accept_content": ["application/x-python-serialize"]}, "accepts pickle"),
            ("warning", {"task_time_limit": 60}, "task_time_limit=60"),
            ("warning", {"broker_connection_retry_on_startup": None}, "broker_connection_retry_on_startup unset"),
            ("warning", {"worker_enable_prefetch_count_reduction": True}, "may hang"),
        ],
    )
    def test_what_it_lacks_on_rabbitmq(self, level: str, settings: dict[str, Any], said: str) -> None:
        assert not texts(self.given("amqp://u:p@localhost//"), level, "theirs")
        [text] = texts(self.given("amqp://u:p@localhost//", **settings), level, "theirs")
        assert said in text

    def test_redis_with_its_stock_transport(self) -> None:
        url = NOWHERE.replace("//", "//:hidden@")
        [text] = texts(self.given(url, broker_transport_options={"visibility_timeout": 60}), "warning", "theirs")
        assert "loses it" in text
        assert "(60 s)" in text
        assert "broker_url to redis-streams://:***@127.0.0.1:1/0 (docs/redis-streams.md)" in text

    def test_redis_streams_lack_nothing(self) -> None:
        for url in (NOWHERE.replace("redis", "redis-streams"), "redis-streams+socket:///nowhere.sock?virtual_host=3"):
            checked = self.given(url)
            checked.bind(Weighty, lambda event: None, name="slow", timeout=7200)
            assert not texts(checked, "warning", "theirs")
            assert not texts(checked, "warning", "visibility_timeout of")
            assert not texts(checked, "error", "")

    def test_it_changes_nothing(self) -> None:
        app = Celery("theirs", broker=NOWHERE)
        before = {name: app.conf[name] for name in app.conf if name != "include"}
        assert static_findings(EventSystem("checked", celery=app))
        assert {name: app.conf[name] for name in app.conf if name != "include"} == before


class TestSecrets:
    @pytest.mark.parametrize("password", ["short", "changeme", "Password", "my-own-user"])
    def test_a_password_of_flower_that_is_easy_to_guess(self, password: str) -> None:
        checked = system(flower_password=password, flower_user="my-own-user")
        [text] = texts(checked, "deploy", "EVENTS_FLOWER_PASSWORD")
        assert "easy to guess" in text
        assert password not in text

    def test_none_and_a_good_one(self) -> None:
        assert "is not set" in texts(system(), "deploy", "EVENTS_FLOWER_PASSWORD")[0]
        assert not texts(system(flower_password="correct-horse"), "deploy", "EVENTS_FLOWER_PASSWORD")

    @pytest.mark.parametrize("url", ["amqp://guest:guest@rabbit//", "amqp://rabbit//", "pyamqp://guest:guest@rabbit//"])
    def test_guest(self, url: str) -> None:
        [text] = texts(system(broker_url=url, redis_url=NOWHERE), "deploy", "guest")
        assert "guest:guest" not in text

    def test_another_user_or_password(self) -> None:
        for url in ("amqp://guest:other@rabbit//", "amqp://shop:guest@rabbit//", "redis://guest:guest@localhost/0"):
            assert not texts(system(broker_url=url, redis_url=NOWHERE), "deploy", "as guest")


class TestLog:
    def test_servers_that_are_down_are_said_and_nothing_is_raised(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.undo()  # this one may connect
        with caplog.at_level(logging.WARNING, "events_worker.checks"):
            log_findings(system())
            log_findings(system(broker_url="amqp://u:p@127.0.0.1:1//", redis_url=NOWHERE))
            log_findings(EventSystem("checked"))
        said = " ".join(caplog.messages)
        assert said.count("cannot be reached") == 3
        assert "EVENTS_BROKER_URL is not set" in said

    def test_it_says_nothing_of_passwords_and_names_of_the_application(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.undo()
        with caplog.at_level(logging.WARNING, "events_worker.checks"):
            log_findings(system(flower_password="x"))
        assert [message.split()[0:3] for message in caplog.messages] == [
            ["the", "event", "map"],
            ["the", "coordination", "Redis"],
        ]

    def test_whatever_goes_wrong(self, caplog: pytest.LogCaptureFixture) -> None:
        log_findings(None)  # type: ignore[arg-type]
        assert "could not be checked" in caplog.text


def test_all_findings_are_the_static_ones_and_those_of_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    checked = system()
    static = static_findings(checked)
    assert findings(checked)[: len(static)] == static
    assert isinstance(findings(checked)[-1], Finding)
    assert "cannot be reached" in findings(checked)[-1].text
