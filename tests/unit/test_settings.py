"""Settings: keyword arguments, EVENTS_* variables, defaults; what cannot work is refused by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from events_core import ConfigurationError, EventSystem
from events_core.coordination import coordination_url
from events_core.publishing.connect import redis_url
from events_core.settings import app_path, broker_kind, load_settings, require_broker, without_password


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("EVENTS_")]:
        monkeypatch.delenv(name)


def test_the_defaults_are_those_of_the_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DESIGN §4; names derive from the system's name, and the data folder is absolute."""
    monkeypatch.chdir(tmp_path)
    settings = load_settings("shop")
    assert (settings.broker_url, settings.redis_url) == ("", "")
    assert (settings.default_queue, settings.key_prefix) == ("shop.events", "shop:")
    assert (settings.emit_timeout, settings.max_event_bytes, settings.max_hops) == (2.0, 262_144, 32)
    assert (settings.unknown_grace, settings.dead_retention) == (900.0, 30 * 86400.0)
    assert settings.data_dir == tmp_path / ".events"
    assert settings.quorum_queues is False


@pytest.mark.parametrize(
    "name, text, value",
    [
        ("broker_url", "redis://a", "redis://a"),
        ("redis_url", "redis://b", "redis://b"),
        ("default_queue", "q", "q"),
        ("key_prefix", "p:", "p:"),
        ("emit_timeout", "0.5", 0.5),
        ("max_event_bytes", "10", 10),
        ("max_hops", "3", 3),
        ("unknown_grace", "5", 5.0),
        ("quorum_queues", "1", True),
    ],
)
def test_each_is_read_from_its_variable_and_a_keyword_beats_it(
    name: str, text: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EVENTS_<NAME>; a keyword argument wins over the environment."""
    default = getattr(load_settings("shop"), name)
    monkeypatch.setenv(f"EVENTS_{name.upper()}", text)
    assert getattr(load_settings("shop"), name) == value
    assert getattr(load_settings("shop", **{name: default}), name) == default


@pytest.mark.parametrize(
    "values, named",
    [
        ({"emit_timeout": 0}, "EMIT_TIMEOUT"),
        ({"emit_timeout": "soon"}, "EMIT_TIMEOUT"),
        ({"emit_timeout": "inf"}, "EMIT_TIMEOUT"),
        ({"max_event_bytes": -1}, "MAX_EVENT_BYTES"),
        ({"max_hops": 0}, "MAX_HOPS"),
        ({"unknown_grace": -1}, "UNKNOWN_GRACE"),
        ({"brokr_url": "redis://"}, "BROKR_URL"),
    ],
)
def test_what_cannot_work_is_refused_by_name(values: dict[str, Any], named: str) -> None:
    """A wrong value or a misspelt keyword is an error when the system is made, and names the setting."""
    with pytest.raises(ConfigurationError, match=f"'shop'.*{named}"):
        EventSystem("shop", **values)


@pytest.mark.parametrize("name", ["", "a b", "*", "-a", "a/b", "é"])
def test_a_name_that_cannot_name_queues_is_refused(name: str) -> None:
    """The system's name is part of queue names and keys."""
    with pytest.raises(ConfigurationError, match="name"):
        EventSystem(name)


def test_a_missing_broker_is_an_error_that_names_the_choices() -> None:
    """Not before something needs it; then with the three ways to set it."""
    system = EventSystem("shop")
    with pytest.raises(ConfigurationError, match=r"EVENTS_BROKER_URL is not set.*embedded.*redis://.*amqp://"):
        system.celery  # noqa: B018


def test_an_unknown_kind_of_broker_is_refused_without_showing_its_password() -> None:
    """Promise 9 holds for credentials too."""
    with pytest.raises(ConfigurationError, match=r"sqs://me:\*\*\*@host") as caught:
        require_broker(load_settings("shop", broker_url="sqs://me:sesame@host"))
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("url", ["amqp://u:sesame@a;amqp://u:sesame@b", "redis://a/0;redis://b/0", "amqp://a;b"])
def test_several_addresses_are_refused(url: str) -> None:
    """emit would only ever try the first, while the worker moves on to the next."""
    with pytest.raises(ConfigurationError, match=r"EVENTS_BROKER_URL has a ';'.*give one.*load balancer") as caught:
        require_broker(load_settings("shop", broker_url=url))
    assert "sesame" not in str(caught.value)
    with pytest.raises(ConfigurationError, match=r"has a ';'.*give one"):
        redis_url(url)
    own = EventSystem("shop", celery=Celery("own", broker=url, set_as_current=False))
    with pytest.raises(ConfigurationError, match=r"broker_url names several addresses.*load balancer"):
        own.publisher  # noqa: B018


@pytest.mark.parametrize(
    "url, kombus",
    [
        ("unix:///run/redis.sock?db=3", "redis+socket:///run/redis.sock?virtual_host=3"),
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock?virtual_host=0"),
        ("unix://u:p@/run/redis.sock?db=3", "redis+socket://u:p@/run/redis.sock?virtual_host=3"),
    ],
)
def test_a_unix_socket_gets_the_form_that_kombu_knows(url: str, kombus: str) -> None:
    """redis-py's unix:// is one that people know; kombu answers it with a KeyError."""
    system = EventSystem("shop", broker_url=url)
    assert require_broker(system.settings) == kombus
    assert system.celery.connection_for_write().transport.driver_type == "redis"
    assert coordination_url(system) == (url if "db=" in url else f"{url}?db=0")


def test_the_container_image_refuses_the_embedded_redis() -> None:
    """It is for development only."""
    with pytest.raises(ConfigurationError, match="refused in the container"):
        require_broker(load_settings("shop", broker_url="embedded", container=True))


@pytest.mark.parametrize(
    "url, kind",
    [
        ("redis://h", "redis"),
        ("rediss://h", "redis"),
        ("unix:///s", "redis"),
        ("redis+socket:///s", "redis"),
        ("REDIS://h", "redis"),
        ("amqp://h", "amqp"),
        ("amqps://h", "amqp"),
        ("pyamqp://h", "amqp"),
        ("sqs://h", None),
        ("redis", None),
        ("", None),
    ],
)
def test_the_kind_of_a_broker(url: str, kind: str | None) -> None:
    """Redis and RabbitMQ are what deliveries can go over."""
    assert broker_kind(url) == kind


@pytest.mark.parametrize(
    "url, shown",
    [
        ("redis://:p@h:1/2", "redis://:***@h:1/2"),
        ("amqp://u:p@h//", "amqp://u:***@h//"),
        ("amqp://u@h", "amqp://u@h"),
        ("redis://h", "redis://h"),
        ("embedded", "embedded"),
    ],
)
def test_urls_are_shown_without_their_password(url: str, shown: str) -> None:
    """For logs and errors."""
    assert without_password(url) == shown


def test_the_app_of_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """`celery -A events_worker` needs EVENTS_APP, and says so."""
    with pytest.raises(ConfigurationError, match=r"EVENTS_APP is not set.*shop\.events:events"):
        app_path()
    monkeypatch.setenv("EVENTS_APP", "shop.events:events")
    assert app_path() == "shop.events:events"
