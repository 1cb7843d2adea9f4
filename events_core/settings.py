"""Settings: EVENTS_* variables and keyword arguments. The only reader of the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from events_core.errors import ConfigurationError

_CHOICES = (
    "'embedded' (a private redis-server for development), 'redis://HOST:6379/0' or 'amqp://USER:PASSWORD@HOST:5672//'"
)
_REDIS_SCHEMES = frozenset({"redis", "rediss", "redis+socket", "unix"})
_AMQP_SCHEMES = frozenset({"amqp", "amqps", "pyamqp"})


class Settings(BaseSettings):
    """Settings of one EventSystem, each from its keyword argument, else from EVENTS_<NAME>, else its default.

    broker_url: Celery's broker. redis_url: the coordination Redis; default is the broker, where that is Redis.
    app: where `celery -A events_worker` finds the EventSystem, as ``module:name``.
    default_queue: default ``{name}.events``. key_prefix: before every key in Redis; default ``{name}:``.
    emit_timeout: seconds one chunk of at most 1,000 deliveries may take. max_event_bytes: of one encoded event.
    max_hops: how many events may follow from one another. unknown_grace: seconds that deliveries for an unknown
    handler, type or version are held. dead_retention: seconds that dead letters are kept.
    data_dir: where the embedded Redis keeps its files. quorum_queues: declare RabbitMQ queues as quorum queues.
    redis_transport: how Celery uses a Redis broker: ``streams`` is ours, ``stock`` kombu's, which loses messages of
    killed workers. container: set in the container image, where `embedded` is refused.
    """

    model_config = SettingsConfigDict(env_prefix="EVENTS_", extra="forbid", frozen=True)

    broker_url: str = ""
    redis_url: str = ""
    app: str = ""
    default_queue: str = ""
    key_prefix: str = ""
    emit_timeout: float = Field(default=2.0, gt=0, allow_inf_nan=False)
    max_event_bytes: int = Field(default=262_144, gt=0)
    max_hops: int = Field(default=32, ge=1)
    unknown_grace: float = Field(default=900.0, ge=0, allow_inf_nan=False)
    dead_retention: float = Field(default=30 * 86400.0, gt=0, allow_inf_nan=False)
    data_dir: Path = Path(".events")
    flower_user: str = "events"
    flower_password: str = ""
    quorum_queues: bool = False
    container: bool = False
    redis_transport: Literal["streams", "stock"] = "streams"

    @property
    def embedded(self) -> bool:
        """Whether the broker is the embedded Redis."""
        return self.broker_url == "embedded"


def load_settings(name: str, **values: Any) -> Settings:
    """The settings of the system `name`. Raises ConfigurationError, which says what to set."""
    try:
        settings = Settings(**values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, p['loc'])).upper()}: {p['msg']}" for p in error.errors())
        raise ConfigurationError(f"settings of {name!r} (EVENTS_* or keyword arguments): {problems}") from None
    return settings.model_copy(
        update={
            "default_queue": settings.default_queue or f"{name}.events",
            "key_prefix": settings.key_prefix or f"{name}:",
            "data_dir": settings.data_dir.absolute(),
        }
    )


def app_path() -> str:
    """EVENTS_APP: where the worker finds the EventSystem. Raises ConfigurationError when it is not set."""
    path = os.environ.get("EVENTS_APP", "")
    if not path:
        raise ConfigurationError("EVENTS_APP is not set: set it to the EventSystem's place, such as shop.events:events")
    return path


def require_broker(settings: Settings) -> str:
    """The broker URL in kombu's form. Raises ConfigurationError where it is missing or cannot be used."""
    url = settings.broker_url
    if not url:
        raise ConfigurationError(f"EVENTS_BROKER_URL is not set: set it to {_CHOICES}")
    if settings.embedded:
        if settings.container:
            raise ConfigurationError(
                "EVENTS_BROKER_URL=embedded is for development and refused in the container: "
                "set it to the address of a Redis or RabbitMQ"
            )
        return url
    require_one_address(url, "EVENTS_BROKER_URL")
    require_readable(url, "EVENTS_BROKER_URL")
    if broker_kind(url) is None:
        raise ConfigurationError(f"EVENTS_BROKER_URL={without_password(url)} cannot be used: set it to {_CHOICES}")
    return _kombu_socket(url) if url.lower().startswith("unix://") else url


def require_one_address(url: str, what: str) -> None:
    """Raise ConfigurationError for kombu's lists of addresses: emit would only ever try the first."""
    if ";" in url:  # not shown: where a password ends cannot be told
        raise ConfigurationError(
            f"{what} has a ';', which separates several addresses: give one, such as that of a load balancer before "
            "the brokers. A ';' within a password is written %3B"
        )


def require_readable(url: str, what: str) -> None:
    """Raise ConfigurationError for a URL that is cut at the wrong place: of its parts none may be shown."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  (found when it is asked for)
        at_in = "" if "@" in parts.netloc or not parts.netloc else f"{parts.path}{parts.query}{parts.fragment}"
    except ValueError:
        at_in = "@"
    if "@" in at_in:
        raise ConfigurationError(
            f"{what} cannot be read: write / # ? @ : and [ ] in its user and password percent-encoded (%2F %23 %3F %40 "
            "%3A %5B %5D), and the port as a number"
        )


def _kombu_socket(url: str) -> str:
    """redis-py's URL of a unix socket in kombu's form."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    query["virtual_host"] = query.pop("db", query.get("virtual_host", "0"))
    return f"redis+socket://{parts.netloc}{parts.path}?{urlencode(query)}"


def broker_kind(url: str) -> str | None:
    """``redis`` or ``amqp``, or None for a broker that cannot be used."""
    scheme = url.split("://", 1)[0].lower() if "://" in url else ""
    if scheme in _REDIS_SCHEMES:
        return "redis"
    return "amqp" if scheme in _AMQP_SCHEMES else None


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{host}"))
