"""The setting EVENTS, read and checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from events_core.settings import Settings

#: What an EventSystem takes besides its settings; each an object, or the dotted path of one.
_OBJECTS = ("CELERY", "CONTAINER", "MESSAGE_BROKER")
#: Its settings, by the names they have as EVENTS_* variables. APP is for `celery -A events_worker` alone.
_SETTINGS = tuple(name.upper() for name in Settings.model_fields if name != "app")
_OWN = ("NAME", "HANDLERS", "MIDDLEWARE", "DATABASE")
_ALL = (*_OWN, *_OBJECTS, *_SETTINGS, "SYSTEM")


@dataclass(frozen=True, slots=True)
class Configuration:
    """What EVENTS says.

    database: the alias of the database whose commit `emit` waits for; None: it waits for none. system: the dotted path
    of an EventSystem that the project makes itself; then there are no arguments. arguments: those of `EventSystem`.
    """

    database: str | None
    system: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)


def configured() -> Configuration:
    """The project's. Raises ImproperlyConfigured, which names the key and what to write."""
    given = getattr(settings, "EVENTS", None)
    if not isinstance(given, dict):
        raise ImproperlyConfigured(
            "the setting EVENTS is missing: write EVENTS = {'NAME': 'shop'} with the name of your application"
            if given is None
            else f"the setting EVENTS is a {type(given).__name__}, not a dict such as {{'NAME': 'shop'}}"
        )
    for key in given:
        if key not in _ALL:
            raise ImproperlyConfigured(f"EVENTS has the key {key!r}, which there is not: {_meant(key, _ALL)}")
    database = _database(given)
    if "SYSTEM" in given:
        others = sorted(set(given) - {"SYSTEM", "DATABASE"})
        if others:
            raise ImproperlyConfigured(
                f"EVENTS['SYSTEM'] is an EventSystem of your own, which has its settings already: give it {others[0]} "
                "where you make it, and take the key out of EVENTS"
            )
        return Configuration(database, _text(given, "SYSTEM", "shop.events.events"))
    return Configuration(database, arguments=_arguments(given))


def imported(key: str, path: str) -> Any:
    """What EVENTS[key] names. Raises ImproperlyConfigured where it cannot be imported."""
    try:
        return import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(f"EVENTS[{key!r}] = {path!r} cannot be imported: {error}") from error


def _arguments(given: dict[str, Any]) -> dict[str, Any]:
    if "NAME" not in given:
        raise ImproperlyConfigured("EVENTS has no 'NAME', which names its queues and keys: write 'NAME': 'shop'")
    arguments: dict[str, Any] = {"name": _text(given, "NAME", "shop"), "handlers": _list(given, "HANDLERS")}
    arguments["middleware"] = [_object("MIDDLEWARE", value) for value in _list(given, "MIDDLEWARE")]
    for key in _OBJECTS:
        if given.get(key) is not None:
            arguments[key.lower()] = _object(key, given[key])
    return arguments | {key.lower(): given[key] for key in _SETTINGS if key in given}


def _object(key: str, value: Any) -> Any:
    return imported(key, value) if isinstance(value, str) else value


def _list(given: dict[str, Any], key: str) -> tuple[Any, ...]:
    values = given.get(key, ())
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ImproperlyConfigured(
            f"EVENTS[{key!r}] is {values!r}, not a list of dotted paths such as ['shop.reactions']"
        )
    return tuple(values)


def _database(given: dict[str, Any]) -> str | None:
    database = given.get("DATABASE", "default")
    if database is None or (database == "default" and "DATABASE" not in given):
        return database  # type: ignore[no-any-return]
    if database not in settings.DATABASES:
        raise ImproperlyConfigured(
            f"EVENTS['DATABASE'] = {database!r} is no alias in DATABASES: {_meant(str(database), settings.DATABASES)}"
        )
    return str(database)


def _text(given: dict[str, Any], key: str, example: str) -> str:
    if not isinstance(given[key], str):
        raise ImproperlyConfigured(f"EVENTS[{key!r}] is {given[key]!r}, not a text such as {example!r}")
    return str(given[key])


def _meant(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = get_close_matches(str(name).upper(), names, n=1, cutoff=0.4) or get_close_matches(str(name), names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
