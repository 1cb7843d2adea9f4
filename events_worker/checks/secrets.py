"""Passwords that everybody knows. Touches no network."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from events_core import ConfigurationError, EventSystem
from events_core.settings import Settings
from events_worker.checks.finding import Finding, shown_url

_TRIVIAL = {"password", "passwort", "flower", "events", "celery", "secret", "changeme", "change-me", "admin", "guest"}
_SHORTEST_PASSWORD = 8


def check_secrets(system: EventSystem) -> Iterator[Finding]:
    """Findings on default and trivial passwords; none of them is ever shown."""
    yield from _check_flower(system.settings)
    try:
        connection = system.celery.connection_for_write()
    except ConfigurationError:
        return  # said elsewhere
    # kombu's form of a URL without user and password is that of guest:guest
    guest = (connection.userid or "guest", connection.password or "guest") == ("guest", "guest")
    if guest and connection.transport_cls in ("amqp", "amqps", "pyamqp"):
        yield Finding(
            "deploy",
            f"the broker {shown_url(connection.as_uri())} is used as guest with the default password: make a "
            "RabbitMQ user for this application",
        )


def _check_flower(settings: Settings) -> Iterator[Finding]:
    password = settings.flower_password
    if not password:
        if find_spec("flower") is not None:
            yield Finding(
                "deploy", "EVENTS_FLOWER_PASSWORD is not set, and `events flower` does not start without it: set one"
            )
    elif len(password) < _SHORTEST_PASSWORD or password.lower() in {*_TRIVIAL, settings.flower_user.lower()}:
        yield Finding(
            "deploy",
            f"EVENTS_FLOWER_PASSWORD is easy to guess: set one of at least {_SHORTEST_PASSWORD} characters, such as "
            "what `openssl rand -hex 16` prints",
        )
