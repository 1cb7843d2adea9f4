"""What the handlers of a system say of their gates, and what of it contradicts itself or the events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, get_origin
from uuid import UUID

from pydantic import BaseModel

from events_core.errors import BindError
from events_core.events import Event
from events_core.handlers import HandlerSpec
from events_core.policies import Breaker, Limit, Rate
from events_core.secret import is_secret_path

#: For each gate that handlers may share, "kind:name": its policy without a key, and the handler that defined it first.
Definers = dict[str, tuple[Limit | Rate | Breaker, str]]


def definitions(specs: Iterable[HandlerSpec]) -> dict[str, str]:
    """The definitions of all gates of these handlers, as the scripts of admission read them.

    ``order:<handler>`` "continue" or "hold", under its old names too, for what older code still emits;
    ``breaker:<name>`` failures that open it and milliseconds until a probe; ``limit:<name>`` its places;
    ``rate:<name>`` milliseconds between two, and the burst.
    """
    found: dict[str, str] = {}
    for spec in specs:
        if spec.ordered_by is not None:
            found |= dict.fromkeys([f"order:{name}" for name in (spec.name, *spec.aliases)], spec.on_dead)
        for gate, policy in _shared(spec):
            match policy:
                case Limit():
                    found[gate] = str(policy.max)
                case Rate():
                    found[gate] = rate_definition(policy)
                case Breaker():
                    found[gate] = breaker_definition(policy)
    return found


def check_definitions(spec: HandlerSpec, known: Definers) -> Definers:
    """Who defines each gate of the handler that others may share, those in `known` first.

    Raises BindError where it is defined differently. The keys of a limit may differ, for they belong to the events.
    """
    found: Definers = {}
    for gate, policy in _shared(spec):
        found[gate] = other, owner = known.get(gate) or found.get(gate) or (policy, spec.name)
        if other != policy:
            kind = gate.partition(":")[0]
            both = f"{spec.name} and {owner} define" if owner != spec.name else f"{spec.name} defines"
            raise BindError(
                f"{both} the {kind} {policy.name!r} as {policy!r} and as {other!r}: one name is one {kind} for "
                "all handlers. Define it once and share it, or give one of them another name"
            )
    return found


#: What has no fields of the application's.
_WITHOUT_FIELDS = {int, float, bool, str, bytes, Decimal, UUID, date, datetime, timedelta, dict, list, tuple, set}


def _shared(spec: HandlerSpec) -> Iterator[tuple[str, Limit | Rate | Breaker]]:
    if spec.breaker is not None:
        yield f"breaker:{spec.breaker.name}", spec.breaker
    for policy in spec.limits:
        yield f"{'limit' if isinstance(policy, Limit) else 'rate'}:{policy.name}", replace(policy, key=None)


def rate_definition(rate: Rate) -> str:
    """Milliseconds between two, and the burst."""
    return f"{rate.per * 1000 / rate.count:.6f} {rate.burst}"


def breaker_definition(breaker: Breaker) -> str:
    """Failures that open it, and milliseconds until a probe."""
    return f"{breaker.fail_max} {breaker.reset * 1000:.0f}"


def check_keys(event_class: type[Event], spec: HandlerSpec) -> None:
    """Raise BindError for a key of the handler that no event of the class can have, or that is a secret there.

    Keys stand in names of Redis keys and in what operators see. What a function gives is not known here.
    """
    check_secret_keys(event_class, spec)
    for path, whose in _paths(spec):
        _check_path(path, event_class, whose)


def check_secret_keys(event_class: type[Event], spec: HandlerSpec) -> None:
    """Raise BindError for a key of the handler that is a secret in events of the class."""
    for path, whose in _paths(spec):
        if is_secret_path(event_class, path):
            raise BindError(
                f"{whose}: {path!r} is a secret field of {event_class.__qualname__}: its value would stand in names of "
                "Redis keys and in what operators see. Name another field, such as an id"
            )


def _paths(spec: HandlerSpec) -> Iterator[tuple[str, str]]:
    """The keys that are paths of fields, and whose each is."""
    for policy in spec.limits:
        if isinstance(policy.key, str):
            yield policy.key, f"{spec.name}: the key of {policy!r}"
    if isinstance(spec.ordered_by, str):
        yield spec.ordered_by, f"{spec.name}: ordered_by={spec.ordered_by!r}"


def _check_path(key: str, event_class: type[Event], whose: str) -> None:
    cls: Any = event_class
    parts = key.split(".")
    for place, part in enumerate(parts):
        fields = cls.model_fields
        if part not in fields:
            attribute = getattr(cls, part, None)
            if attribute is None or callable(attribute):
                raise BindError(
                    f"{whose}: {cls.__qualname__} has no field {part!r}; it has {', '.join(fields)}. Name one of "
                    "these, or give a function of the event"
                )
            return  # a property or a class attribute: what it gives is known at run time only
        annotation = fields[part].annotation
        plain = get_origin(annotation) or annotation
        if plain in _WITHOUT_FIELDS and parts[place + 1 :] and not hasattr(plain, parts[place + 1]):
            raise BindError(
                f"{whose}: {part!r} of {cls.__qualname__} has the type {plain.__name__}, which has no field "
                f"{parts[place + 1]!r}. Name another one, or give a function of the event"
            )
        cls = annotation
        if not (isinstance(cls, type) and issubclass(cls, BaseModel)):
            return
