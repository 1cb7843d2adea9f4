"""The project's EventSystem: made from the setting EVENTS, or named by it."""

from __future__ import annotations

import threading

from django.core.exceptions import ImproperlyConfigured

from events_core import ConfigurationError, EventSystem
from events_core.contrib.django.configuration import Configuration, configured, imported
from events_core.contrib.django.connections import OwnThread
from events_core.contrib.django.transactions import AfterCommit

#: Binds the handlers of every installed app when it is imported.
DISCOVERED = "events_core.contrib.django.discovered"
#: Where processes that know no Django yet find the system.
WORKER = "events_core.contrib.django.worker"

_lock = threading.RLock()
_system: EventSystem | None = None


def get_system() -> EventSystem:
    """The system, made on first use. Raises ImproperlyConfigured, which says what is wrong with the setting EVENTS."""
    global _system  # one for the process, as Django's settings are
    with _lock:
        if _system is None:
            configuration = configured()
            system = _named(configuration.system) if configuration.system else _made(configuration)
            # A worker's further processes import this module: it sets Django up, which that of the project may not.
            system.module = WORKER
            system.middleware = (OwnThread(), *system.middleware)
            if configuration.database is not None:
                system.deliver_later = AfterCommit(configuration.database)
            _system = system
        return _system


def _made(configuration: Configuration) -> EventSystem:
    arguments = dict(configuration.arguments)
    name, handlers = arguments.pop("name"), arguments.pop("handlers")
    try:
        return EventSystem(name, handlers=(DISCOVERED, *handlers), **arguments)
    except ConfigurationError as error:
        raise ImproperlyConfigured(f"EVENTS: {error}") from error


def _named(path: str) -> EventSystem:
    system = imported("SYSTEM", path)
    if not isinstance(system, EventSystem):
        raise ImproperlyConfigured(f"EVENTS['SYSTEM'] = {path!r} is a {type(system).__name__}, no EventSystem")
    return system
