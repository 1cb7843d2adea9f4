"""The gates that a delivery must pass, from its handler's policies and its event."""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

from events_core.events import Event
from events_core.handlers import HandlerSpec
from events_core.policies import Key, Limit, Rate

#: Milliseconds of a lease where no limit says otherwise.
DEFAULT_LEASE = 30_000


class Passage(NamedTuple):
    """What one delivery must pass. gates: as the scripts name them, in order. lease: milliseconds."""

    gates: list[str]
    lease: int


def passage(spec: HandlerSpec, event: Event, *, group: str | None = None, paused: bool = False) -> Passage:
    """The gates of a delivery of `event` to the handler.

    Those that it keeps while it waits at another come first: its order, then its group, a pause, the breaker, limits
    and rates as the handler has them. A key that gives None is a key like any other.
    group: the id of the group that it belongs to. paused: the handler is believed to be paused.
    Raises whatever a key function of the application's raises, and ValueError where a field is missing, or a key is no
    text that can be written down.
    """
    gates = []
    if spec.ordered_by is not None:
        gates.append(f"order:{spec.name}|{_value(spec.ordered_by, event)}")
    if group is not None:
        gates.append(f"group:{group}|")
    if paused:
        gates.append(f"pause:{spec.name}|")
    if spec.breaker is not None:
        gates.append(f"breaker:{spec.breaker.name}|")
    limits = [policy for policy in spec.limits if isinstance(policy, Limit)]
    gates += [f"limit:{limit.name}|{_value(limit.key, event)}" for limit in limits]
    gates += [f"rate:{rate.name}|{_value(rate.key, event)}" for rate in spec.limits if isinstance(rate, Rate)]
    lease = min((int(limit.lease * 1000) for limit in limits), default=DEFAULT_LEASE)
    return Passage(list(dict.fromkeys(gates)), lease)  # each once: two keys of one limit may have the same value


def has_gates(spec: HandlerSpec) -> bool:
    """Whether each delivery to the handler must ask before it runs."""
    return bool(spec.limits) or spec.breaker is not None or spec.ordered_by is not None


def _value(key: Key | None, event: Event) -> str:
    if key is None:
        return ""
    if callable(key):
        return _writable(str(key(event)), event)
    try:
        return _writable(str(reduce(getattr, key.split("."), event)), event)
    except AttributeError:
        raise ValueError(f"{event.event_type} {event.event_id} has no {key!r}, which is a key") from None


def _writable(text: str, event: Event) -> str:
    """The text, if it can be sent to Redis: one with half a surrogate pair would fail whoever shares its round trip."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"{event.event_type} {event.event_id} has a key that is no valid text: it has bytes that were no UTF-8 "
                "(surrogateescape), or half of a surrogate pair"
            ) from None
    return text
