"""Which event class belongs to a received (event_type, version), and how an older version becomes a newer one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from events_core.errors import (
    BindError,
    DuplicateBinding,
    InvalidEnvelope,
    UnknownEventType,
    UnknownEventVersion,
)
from events_core.events import Event, defined

#: A function of an event's data as it was written that gives the data of the next version.
Upcast = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Upcaster:
    """Makes the data of one version of an event that of the next one."""

    event_type: str
    from_version: int
    function: Callable[[dict[str, Any]], Any]

    @property
    def name(self) -> str:
        """The function's name, for people."""
        return f"{self.function.__module__}.{self.function.__qualname__}"

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """The data of the next version. Raises InvalidEnvelope, which names the function, not the values."""
        try:
            newer = self.function(data)
            to_json(newer)
        except PydanticSerializationError:
            reason = "gave data that JSON cannot hold"
        except Exception as error:  # its text may quote the data
            reason = f"failed with {type(error).__name__}"
        else:
            if isinstance(newer, dict):
                return newer
            reason = f"gave a {type(newer).__name__} instead of the data of the next version"
        raise InvalidEnvelope(
            f"the upcaster {self.name} of {self.event_type!r} from version {self.from_version} {reason}"
        )


_upcasters: dict[tuple[str, int], Upcaster] = {}


def upcaster(event_type: str, *, from_version: int) -> Callable[[Upcast], Upcast]:
    """Decorator: the function makes the data of `from_version` that of the version after it.

    It is called with a dict of the event's own fields as they were written (JSON), and returns such a dict. One from
    version 1 and one from version 2 make a version 3 of what was written as version 1.

    Raises BindError for what cannot be one, DuplicateBinding where there is one from that version already.
    """
    if not isinstance(event_type, str) or not event_type:
        raise BindError(f"upcaster({event_type!r}): give the event's type, such as 'order.confirmed'")
    if isinstance(from_version, bool) or not isinstance(from_version, int) or from_version < 1:
        raise BindError(f"upcaster({event_type!r}, from_version={from_version!r}): must be a whole number from 1 on")

    def register(function: Upcast) -> Upcast:
        _check_function(event_type, function)
        made = Upcaster(event_type, from_version, function)
        known = _upcasters.setdefault((event_type, from_version), made)
        if known.name != made.name:  # of the same name: its module was loaded anew
            raise DuplicateBinding(
                f"{known.name} and {made.name} both make {event_type!r} version {from_version} newer: remove one"
            )
        _upcasters[event_type, from_version] = made
        return function

    return register


def _check_function(event_type: str, function: Any) -> None:
    if not inspect.isroutine(function):
        raise BindError(f"the upcaster of {event_type!r} must be a plain function of the data, not {function!r:.80}")
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise BindError(f"the upcaster {function.__qualname__} of {event_type!r} must be a plain function, not async")
    try:
        inspect.signature(function).bind({})
    except (TypeError, ValueError):
        raise BindError(
            f"the upcaster {function.__qualname__} of {event_type!r} must take one dict, the data"
        ) from None


def upcasters() -> list[Upcaster]:
    """All of them, by type and version."""
    return [_upcasters[key] for key in sorted(_upcasters)]


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


def path_from(event_type: str, version: int) -> tuple[type[Event], list[Upcaster]]:
    """The class that an event of that version is made into, and the upcasters that make it so, in order.

    Raises as `find`, and UnknownEventVersion where the upcasters end at a version that has no class.
    """
    if not _upcasters:
        return find(event_type, version), []
    chain: list[Upcaster] = []
    while (step := _upcasters.get((event_type, version))) is not None:
        chain.append(step)
        version += 1
    try:
        return find(event_type, version), chain
    except UnknownEventVersion as error:
        if not chain:
            raise
        raise UnknownEventVersion(
            f"{chain[-1].name} makes {event_type!r} version {version}, which has no class here, and no upcaster leads "
            f"on from there: add @events.upcaster({event_type!r}, from_version={version}), or the class"
        ) from error
