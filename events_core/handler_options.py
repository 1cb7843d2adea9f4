"""The options that a handler may be bound with, and what of them cannot work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypedDict, get_args

from events_core.errors import BindError
from events_core.policies import Breaker, Key, Limit, OnDead, Rate, Retry, check_key

#: The policy of a handler bound without `retry`. By identity it is told from a Retry() that was given.
DEFAULT_RETRY = Retry()

#: When a fallback runs instead of its handler: when a dead letter would be made, when the breaker is open, or both.
FallbackOn = Literal["exhausted", "open", "both"]


#: Beside each queue of deliveries, one of those that were granted: they do not wait, permit in hand, behind a backlog.
GRANTED = ".granted"


class SubscriberOptions(TypedDict, total=False):
    """Keyword arguments of `EventSystem.subscriber` that are those of a handler; explained at `EventMap.bind`."""

    name: str | None
    retry: Retry | None
    timeout: float | None
    aliases: Iterable[str]
    limit: Limit | Rate | Sequence[Limit | Rate] | None
    breaker: Breaker | None
    ordered_by: Key | None
    on_dead: OnDead
    fallback: Any
    fallback_on: FallbackOn


class HandlerOptions(SubscriberOptions, total=False):
    """Keyword arguments of `EventSystem.handler` and `EventMap.bind`, where they are explained."""

    queue: str | None
    args: Callable[[Any], tuple[Any, ...]] | None
    in_transaction: bool


def limits_of(name: str, limit: Any) -> tuple[Limit | Rate, ...]:
    """`limit=` of a handler as a tuple. Raises BindError for what is no limit, and for one that is given twice."""
    limits = () if limit is None else tuple(limit) if isinstance(limit, list | tuple) else (limit,)
    seen = set()
    for policy in limits:
        if not isinstance(policy, Limit | Rate):
            raise BindError(f"{name}: limit={policy!r} must be a Limit(...), a Rate(...), or a list of them")
        place = (type(policy), policy.name, policy.key)
        if place in seen:
            raise BindError(f"{name}: limit= has {policy.name!r} twice with the same key: keep one of the two")
        seen.add(place)
    return limits


def check_task_options(task_name: str, given: dict[str, bool]) -> None:
    """Raise BindError where options were given to a Celery task, which would not heed them."""
    if any(given.values()):
        names = ", ".join(f"{option}=" for option, is_given in given.items() if is_given)
        raise BindError(
            f"{names} would do nothing for {task_name}: it is a Celery task, and runs with its own name, retries and "
            "limits. Set them on the task (@app.task(...)), or bind a plain function instead"
        )


def check_options(name: str, retry: Any, timeout: Any, queue: Any) -> None:
    """Raise BindError for a value that cannot work, and say what it must be."""
    if not name or any(character.isspace() for character in name):
        raise BindError(f"handler name {name!r} is empty or has blanks")
    if retry is not None and not isinstance(retry, Retry):
        raise BindError(f"{name}: retry={retry!r} must be a Retry(...) or None")
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout <= 0):
        raise BindError(f"{name}: timeout={timeout!r} must be a number of seconds above 0")
    if queue is not None and (not isinstance(queue, str) or not queue):
        raise BindError(f"{name}: queue={queue!r} must be the name of a queue")
    if isinstance(queue, str) and queue.endswith(GRANTED):
        raise BindError(f"{name}: queue={queue!r}: names that end with {GRANTED} belong to what limits have granted")


def check_gates(name: str, breaker: Any, ordered_by: Any, on_dead: Any) -> None:
    """As `check_options`, for what each delivery must pass."""
    if breaker is not None and not isinstance(breaker, Breaker):
        raise BindError(f"{name}: breaker={breaker!r} must be a Breaker(...) or None")
    if ordered_by is not None:
        check_key(ordered_by, f"{name}: ordered_by")
        if "|" in name:
            raise BindError(f"{name}: the name of a handler with ordered_by= is part of a key, and must have no '|'")
    if on_dead not in get_args(OnDead):
        raise BindError(f'{name}: on_dead={on_dead!r} must be "continue" or "hold"')
    if on_dead != "continue" and ordered_by is None:
        raise BindError(f"{name}: on_dead={on_dead!r} says what becomes of an order: give ordered_by= too")


def check_fallback(name: str, fallback: Any, fallback_on: Any, breaker: Any) -> None:
    """As `check_options`, for when a fallback runs."""
    if fallback_on not in get_args(FallbackOn):
        raise BindError(f'{name}: fallback_on={fallback_on!r} must be "exhausted", "open" or "both"')
    if fallback_on == "exhausted":
        return
    if fallback is None:
        raise BindError(f"{name}: fallback_on={fallback_on!r} says when a fallback runs: give fallback= too")
    if breaker is None:
        raise BindError(f"{name}: fallback_on={fallback_on!r} needs a breaker that opens: give breaker= too")
