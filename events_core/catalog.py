"""Which event class belongs to a received (event_type, version)."""

from __future__ import annotations

from events_core.errors import UnknownEventType, UnknownEventVersion
from events_core.events import Event, defined


def event_types() -> list[type[Event]]:
    """All event classes of the application that are loaded in this process, by type and version."""
    own = f"{__package__}."  # GroupCompleted, which applications derive from
    return [cls for _, cls in sorted(defined.items(), key=lambda item: item[0]) if not cls.__module__.startswith(own)]


def find(event_type: str, version: int) -> type[Event]:
    """The class of (event_type, version).

    Raises UnknownEventType when no class of that type is loaded, UnknownEventVersion when only other versions are.
    """
    cls = defined.get((event_type, version))
    if cls is not None:
        return cls
    versions = sorted(known_version for known_type, known_version in list(defined) if known_type == event_type)
    if versions:
        raise UnknownEventVersion(
            f"event {event_type!r} version {version} is not known here, only {', '.join(map(str, versions))}: "
            "deploy a worker that knows it, then redrive"
        )
    raise UnknownEventType(
        f"no event class of type {event_type!r} is loaded here: name the module that defines it in handlers=[...]"
    )
