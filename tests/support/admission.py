"""The admission scripts on a real Redis, whose clock tests can move."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import redis

from events_core.admission.client import Admission, Answer, Blocked, Go, Grant, Parked
from events_core.coordination import Coordination

PREFIX = "shop:"
LEASE = 30_000  # milliseconds
#: Keys that stay: definitions, and the counter of places and tokens.
STAYING = ("gates", "gates:counter", "gates:override", "paused")
#: Ends that never come, such as that of a grant's hold on its gates.
_FOREVER = 2**52


class Gatehouse:
    """Admission on an emptied Redis. `grants` collects what is handed on; `take()` gives it and forgets it."""

    def __init__(self, url: str) -> None:
        self.client: Any = redis.Redis.from_url(url, decode_responses=True, protocol=2)
        self.grants: list[Grant] = []
        self.admission = Admission(Coordination(self.client, PREFIX), self.grants.extend)
        self.park = self.admission.park
        self._runs: dict[str, int] = {}
        self.call = self.admission.call

    def close(self) -> None:
        self.client.close()

    def acquire(self, member: str, run: int, gates: Sequence[str], lease: int, *, token: int = 0) -> Answer:
        answer = self.admission.acquire(member, run, list(gates), lease, token=token)
        if isinstance(answer, Go):
            self._runs[member] = run
        return answer

    def release(
        self, member: str, token: int, gates: Sequence[str], result: str, *, failed: bool, run: int | None = None
    ) -> bool:
        """Of the run that began last, if none is named."""
        run = self._runs.get(member, 1) if run is None else run
        return self.admission.release(member, token, list(gates), result, failed=failed, run=run)

    def declare(self, **definitions: str | int) -> None:
        """limit_smtp=2 defines "limit:smtp" as "2"."""
        self.define({name.replace("_", ":", 1): str(value) for name, value in definitions.items()})

    def define(self, definitions: Mapping[str, str]) -> None:
        self.advance(1)  # the newest is in force
        self.call(["declare", definitions])

    def renew(self, member: str, token: int, gates: Sequence[str], lease: int) -> bool:
        return bool(self.call(["renew", member, token, list(gates), lease]))

    def sweep(self) -> tuple[int, int]:
        """Milliseconds until the next look, or -1, and how many are parked."""
        wait, parked = self.call(["sweep"])
        return wait, parked

    def advance(self, milliseconds: int) -> None:
        """Let time pass: every end and every moment of a gate comes nearer."""
        client = self.client
        for key in client.scan_iter(f"{PREFIX}gate*"):
            name = key.removeprefix(PREFIX)
            if name.startswith("gate:held:") or name in ("gates:granted", "gates:due"):
                for member, score in client.zrange(key, 0, -1, withscores=True):
                    if score < _FOREVER:
                        client.zincrby(key, -milliseconds, member)
            elif name.startswith("gate:state:rate:"):
                left = client.pttl(key)
                client.set(key, f"{float(client.get(key) or 0) - milliseconds:.3f}", px=max(left - milliseconds, 1))
            elif name.startswith("gate:state:breaker:") and client.hexists(key, "until"):
                client.hincrby(key, "until", -milliseconds)
            elif name.startswith("gates:declared:"):
                for definition, times in client.hgetall(key).items():
                    earlier = " ".join(str(int(float(moment)) - milliseconds) for moment in times.split())
                    client.hset(key, definition, earlier)

    def take(self) -> list[Grant]:
        """What was handed on since the last time."""
        taken = list(self.grants)
        self.grants.clear()
        return taken

    def taken(self) -> list[str]:
        """The members of what was handed on since the last time, in order."""
        return [grant.member for grant in self.take()]

    def held(self, gate: str) -> set[str]:
        return set(self.client.zrange(f"{PREFIX}gate:held:{gate}", 0, -1))

    def waiting(self, gate: str) -> list[str]:
        return list(self.client.zrange(f"{PREFIX}gate:waiting:{gate}", 0, -1))

    def info(self, member: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.client.hget(f"{PREFIX}parked:info", member) or "{}")
        return found

    def left(self) -> set[str]:
        """Keys that are neither definitions nor go by themselves."""
        names = {key.removeprefix(PREFIX) for key in self.client.scan_iter(f"{PREFIX}*") if self.client.ttl(key) == -1}
        return {name for name in names if name not in STAYING and not name.startswith("gates:declared:")}

    # What a delivery does, in one word each.

    def go(self, member: str, *gates: str, run: int = 1, token: int = 0) -> int:
        """It may begin: its token."""
        answer = self.acquire(member, run, list(gates), LEASE, token=token)
        assert isinstance(answer, Go), answer
        return answer.token

    def wait(self, member: str, *gates: str, run: int = 1) -> str:
        """It may not begin, and is parked: the gate that blocks it."""
        answer = self.acquire(member, run, list(gates), LEASE)
        assert isinstance(answer, Blocked), answer
        parked = self.park(member, run, list(gates), LEASE, f"{member} {run}")
        assert isinstance(parked, Parked), parked
        return answer.gate

    def enter(self, member: str, *gates: str, group: str | None = None) -> bool:
        """It was emitted, and waits for its turn."""
        return bool(self.call(["enter", member, 1, list(gates), f"{member} 1", group or False]))

    def begin(self, *gates: str) -> dict[str, int]:
        """All that was handed on begins, with these gates: the tokens."""
        began = {}
        for member, token, message, *_ in self.take():
            of, run = message.rsplit(" ", 1)
            assert of == member
            assert self.go(member, *gates, run=int(run), token=token) == token
            began[member] = token
        return began

    def end(self, member: str, token: int, *gates: str, result: str = "done", failed: bool = False) -> None:
        """It has ended, and this was its token."""
        assert self.release(member, token, list(gates), result, failed=failed)
