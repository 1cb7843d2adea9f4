"""Who holds places and who waits for them, as the coordination Redis knows it. Changes nothing.

A look takes several commands, between which work goes on: the figures may be a moment apart.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from events_core.coordination import Coordination
from events_worker.limits.definitions import now_of

_CHUNK = 500
#: Ends of leases from here on never come, in milliseconds; the scripts' is 2**53 - 1.
_NEVER = 2**52


@dataclass(frozen=True, slots=True)
class Holder:
    """A delivery that has a place. Times in seconds; None where nobody knows.

    state: running; on its way (granted, and not begun); kept for its retry, dead, or waiting elsewhere, where an order
    keeps its place. age: since its run began. worker: its process, as host:pid. lease_left: until its place is free
    again if its worker does not renew it.
    """

    delivery: str
    state: str
    age: float | None
    worker: str | None
    lease_left: float | None


@dataclass(frozen=True, slots=True)
class GateInUse:
    """One key of a limit, rate, breaker or order that has holders, waiters or both.

    held, waiting: how many. oldest_wait: seconds that the first in line has waited. holders: those whose leases end
    first, as many as were asked for.
    """

    kind: str
    name: str
    key: str
    held: int
    waiting: int
    oldest_wait: float | None
    holders: tuple[Holder, ...]


@dataclass(frozen=True, slots=True)
class InUse:
    """The keys in use. gates: those with most waiters, as many as were asked for. keys: how many there are of a name,
    as "limit:smtp"; waiting: how many wait at all of its keys together."""

    gates: tuple[GateInUse, ...] = ()
    keys: Counter[str] = field(default_factory=Counter)
    waiting: Counter[str] = field(default_factory=Counter)


def gates_in_use(coordination: Coordination, kinds: Sequence[str], most: int | None) -> InUse:
    """The keys in use of these kinds. most: of keys, and of holders of each; None is all."""
    found = InUse()

    def counted() -> Iterator[tuple[int, int, str]]:
        for waiting, held, gate in _sizes(coordination, kinds):
            name = gate.partition("|")[0]
            found.keys[name] += 1
            found.waiting[name] += waiting
            yield waiting, held, gate

    chosen = sorted(counted(), reverse=True) if most is None else heapq.nlargest(most, counted())
    shown = [
        gate
        for start in range(0, len(chosen), _CHUNK)
        for gate in _details(coordination, chosen[start:][:_CHUNK], most)
    ]
    return InUse(tuple(shown), found.keys, found.waiting)


def waiting_at(coordination: Coordination, gates: Sequence[str]) -> list[int]:
    """How many wait at each gate."""
    with coordination.client.pipeline(transaction=False) as pipe:
        for gate in gates:
            pipe.zcard(coordination.key(f"gate:waiting:{gate}"))
        return list(pipe.execute())


def parked_count(coordination: Coordination) -> int:
    """How many deliveries are kept in Redis: what waits, and what was granted from there and is not settled."""
    client: Any = coordination.client
    return int(client.hlen(coordination.key("parked:messages")))


def paused_handlers(coordination: Coordination) -> dict[str, int]:
    """How many deliveries wait for each paused handler to be resumed."""
    client: Any = coordination.client
    names = sorted(client.smembers(coordination.key("paused")))
    return dict(zip(names, waiting_at(coordination, [f"pause:{name}|" for name in names]), strict=True))


def gates_of(coordination: Coordination, name: str) -> Iterator[str]:
    """All gates in use of a name such as "limit:smtp"."""
    client: Any = coordination.client
    seen: set[str] = set()  # a scan may show one twice
    for gate, _ in client.zscan_iter(coordination.key("gates:due"), count=_CHUNK):
        if gate.partition("|")[0] == name and gate not in seen:
            seen.add(gate)
            yield gate


def holder_of(coordination: Coordination, gate: str, delivery: str) -> Holder | None:
    """The delivery as a holder of the gate; None if it is none."""
    client: Any = coordination.client
    end = client.zscore(coordination.key(f"gate:held:{gate}"), delivery)
    return None if end is None else _holders(coordination, [(delivery, end)])[0]


def _sizes(coordination: Coordination, kinds: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """How many wait at a gate, how many hold it, and which it is."""
    client: Any = coordination.client
    scanned = client.zscan_iter(coordination.key("gates:due"), count=_CHUNK)
    wanted = (gate for gate, _ in scanned if gate.partition(":")[0] in kinds)
    while chunk := list(islice(wanted, _CHUNK)):
        waiting = waiting_at(coordination, chunk)
        with client.pipeline(transaction=False) as pipe:
            for gate in chunk:
                pipe.zcard(coordination.key(f"gate:held:{gate}"))
            held = pipe.execute()
        yield from (row for row in zip(waiting, held, chunk, strict=True) if row[0] or row[1])


def _details(coordination: Coordination, rows: Sequence[tuple[int, int, str]], most: int | None) -> list[GateInUse]:
    client: Any = coordination.client
    with client.pipeline(transaction=False) as pipe:
        for _, _, gate in rows:
            pipe.zrange(coordination.key(f"gate:held:{gate}"), 0, -1 if most is None else most - 1, withscores=True)
            pipe.zrange(coordination.key(f"gate:waiting:{gate}"), 0, 0)
        answers = pipe.execute()
    held, first = answers[::2], answers[1::2]
    holders = iter(_holders(coordination, [pair for pairs in held for pair in pairs]))
    waits = iter(_waits(coordination, [members[0] for members in first if members]))
    gates = []
    for (waiting, count, gate), pairs, members in zip(rows, held, first, strict=True):
        kind, _, rest = gate.partition(":")
        name, _, key = rest.partition("|")
        oldest = next(waits) if members else None
        gates.append(GateInUse(kind, name, key, count, waiting, oldest, tuple(islice(holders, len(pairs)))))
    return gates


def _holders(coordination: Coordination, held: Sequence[tuple[str, float]]) -> list[Holder]:
    client: Any = coordination.client
    now = now_of(coordination)
    members = [member for member, _ in held]
    if not members:
        return []
    infos = [json.loads(text) if text else {} for text in client.hmget(coordination.key("parked:info"), members)]
    tokens = client.hmget(coordination.key("gates:tokens"), members)
    with client.pipeline(transaction=False) as pipe:
        for member in members:
            pipe.zscore(coordination.key("gates:granted"), member)
        granted = pipe.execute()
    return [_holder(*row, now) for row in zip(held, infos, tokens, granted, strict=True)]


def _holder(
    held: tuple[str, float], info: dict[str, Any], token: str | None, granted: float | None, now: float
) -> Holder:
    member, end = held
    _, begun, worker = token.split(" ", 2) if token and " " in token else (None, None, None)
    ends = end if end < _NEVER else granted  # a grant has its time elsewhere
    return Holder(
        delivery=member,
        state=_state(info),
        age=None if begun is None else max(now - float(begun), 0) / 1000,
        worker=worker,
        lease_left=None if ends is None else (ends - now) / 1000,
    )


def _state(info: dict[str, Any]) -> str:
    state = str(info.get("state", "running"))
    if state == "waiting":
        return f"waiting at {str(info.get('at')).removesuffix('|')}"
    words = {"granted": "on its way", "held": "dead", "kept": "waiting for its retry", "leaving": "about to be parked"}
    return words.get(state, state)


def _waits(coordination: Coordination, members: Sequence[str]) -> list[float | None]:
    """Seconds that each has waited."""
    client: Any = coordination.client
    if not members:
        return []
    now = now_of(coordination)
    texts = client.hmget(coordination.key("parked:info"), members)
    since = [json.loads(text).get("since") if text else None for text in texts]
    return [None if when is None else max(now - when, 0) / 1000 for when in since]
