"""Limits, rates, breakers and orders as they are defined: in force, set by an operator, and in the code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from events_core.coordination import Coordination

#: Milliseconds after which what no worker has declared is gone: as in the script's 6_definitions.lua.
_ALIVE = 90_000
_KINDS = ("limit", "rate", "breaker", "order")


@dataclass(frozen=True, slots=True)
class Definition:
    """What is known of one name. The texts are the scripts': "10" of a limit, "100 1" of a rate.

    in_force: None where Redis knows none, and deliveries wait until a worker declares it. overridden: an operator has
    set it. in_code: that of the newest deployment; where no worker has declared any, that of the code here.
    breaker: what a breaker does now, else None.
    """

    kind: str
    name: str
    in_force: str | None = None
    overridden: bool = False
    in_code: str | None = None
    breaker: str | None = None

    @property
    def max(self) -> int | None:
        """How many may run at once, where that is what it limits."""
        if self.kind == "order":
            return 1
        return int(self.in_force) if self.kind == "limit" and self.in_force else None


def known_definitions(coordination: Coordination, code: Mapping[str, str]) -> list[Definition]:
    """Everything that is defined, by kind and name. code: the definitions in the code here."""
    client: Any = coordination.client
    key = coordination.key
    # groups are defined there too, any number of them, and have a command of their own
    in_force = {name: text for name, text in client.hscan_iter(key("gates"), count=1000) if _kind(name) in _KINDS}
    overridden = set(client.hkeys(key("gates:override")))
    names = sorted(in_force.keys() | code.keys() | overridden, key=lambda name: (_KINDS.index(_kind(name)), name))
    now = now_of(coordination)
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.hgetall(key(f"gates:declared:{name}"))
            pipe.hgetall(key(f"gate:state:{name}|" if _kind(name) == "breaker" else "gate:state:"))
        answers = pipe.execute()
    return [
        Definition(
            kind=_kind(name),
            name=name.partition(":")[2],
            in_force=in_force.get(name),
            overridden=name in overridden,
            in_code=_newest(declared, now) or code.get(name),
            breaker=_breaker_state(state, now) if _kind(name) == "breaker" else None,
        )
        for name, declared, state in zip(names, answers[::2], answers[1::2], strict=True)
    ]


def _kind(name: str) -> str:
    return name.partition(":")[0]


def _newest(declared: Mapping[str, str], now: float) -> str | None:
    """The definition that the scripts choose: of those declared lately, the one that was declared first last."""
    times = {text: tuple(map(float, when.split())) for text, when in declared.items()}
    alive = {text: first for text, (first, last) in times.items() if last + _ALIVE >= now}
    return max(alive, key=lambda text: alive[text], default=None)


def _breaker_state(state: Mapping[str, str], now: float) -> str:
    if "until" not in state:
        return f"closed, {state['failures']} failed in a row" if "failures" in state else "closed"
    left = (float(state["until"]) - now) / 1000
    return f"open, probes in {left:.0f} s" if left > 0 else "open, probes"


def now_of(coordination: Coordination) -> float:
    """Redis's clock, in milliseconds."""
    client: Any = coordination.client
    seconds, microseconds = client.time()
    return float(seconds * 1000 + microseconds / 1000)
