"""The caller's side of the admission scripts: operations of several threads share one round trip."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple, Protocol

import redis
from pydantic_core import from_json, to_json

from events_core.admission.wire import ScriptWire
from events_core.coordination import Coordination
from events_core.forking import call_in_child
from events_core.transport import keys
from events_core.transport.errors import code_of

logger = logging.getLogger(__name__)

#: What gives more memory back than it takes: a full Redis carries it out too.
_FREEING = frozenset({"release", "relinquish", "settle", "renew", "sent", "let_go", "forgo", "sweep", "epoch"})
#: Milliseconds for which a delivery that was granted to the process that asks holds its gates, unless it is renewed.
FIRST_LEASE = 5000
#: Refusals after which the same may go well: of a Redis that is full, cannot save, or is busy.
_PASSING = frozenset({"OOM", "READONLY", "MISCONF", "NOREPLICAS", "MASTERDOWN", "BUSY"})


class Grant(NamedTuple):
    """A parked delivery that may run now: `message` is to be published, with the token.

    unfinished, gates: if it has begun already, for this process to run it; see `Go`. Its lease is `FIRST_LEASE`.
    """

    member: str
    token: int
    message: str
    unfinished: int | None = None
    gates: Sequence[str] = ()


class Go(NamedTuple):
    """It may begin. token: its fence token. unfinished: starts of this run before, as far as they were counted here."""

    token: int
    unfinished: int


class Blocked(NamedTuple):
    """It must be parked. gate: the first that does not let it pass."""

    gate: str


class Parked:
    """It is kept in Redis, and its message here is not needed any more."""


class Stale:
    """This run of it has ended already."""


Answer = Go | Blocked | Parked | Stale


class Undeclared(Exception):
    """Redis does not know a gate of the delivery (any more)."""


class HandOn(Protocol):
    """Publishes what was granted."""

    def __call__(self, grants: Sequence[Grant], /) -> None: ...


class _Call:
    __slots__ = ("done", "error", "operations", "replies", "wake")

    def __init__(self, operations: list[list[Any]]) -> None:
        self.operations = operations
        self.replies: list[Any] = []
        self.error: BaseException | None = None
        self.done = False
        self.wake = threading.Lock()
        self.wake.acquire()

    @property
    def frees(self) -> bool:
        """Whether all of it gives memory back."""
        return all(name in _FREEING for name, *_ in self.operations)

    def end(self, error: BaseException | None = None) -> None:
        """It was carried out, or not: wakes who waits for it."""
        self.error = error
        self.done = True
        self.wake.release()

    def result(self) -> list[Any]:
        """The replies. Raises the error."""
        if self.error is not None:
            raise self.error
        return self.replies


class Admission:
    """Admission of one system's deliveries. Thread-safe and fork-safe; connects on first use.

    coordination: its Redis. hand_on: publishes what an operation has granted; called by the thread that was told.
    """

    def __init__(self, coordination: Coordination, hand_on: HandOn) -> None:
        self.coordination = coordination
        self.hand_on = hand_on
        #: How many that are granted now begin in this process: `hand_on` is given them.
        self.room: Callable[[], int] = lambda: 0
        self._reset()
        call_in_child(self._reset)

    def _reset(self) -> None:
        self._leading = threading.Lock()
        self._process = f"{socket.gethostname()}:{os.getpid()}"
        self._calls: list[_Call] = []
        self._later: list[list[Any]] = []
        #: Round trips so far.
        self.trips = 0
        self._wire: ScriptWire | None = None

    def acquire(self, member: str, run: int, gates: list[str], lease: int, *, token: int = 0) -> Answer:
        """Ask whether a run of a delivery may begin.

        run: its number, over generations. lease: milliseconds.
        token: of the grant that its message is, 0 if it is none. Raises Undeclared.
        """
        return answer_of(self.call(["acquire", member, run, gates, lease, token]))

    def park(self, member: str, run: int, gates: list[str], lease: int, message: str) -> Answer:
        """Keep the message of a delivery that was blocked until it may run."""
        return answer_of(self.call(["park", member, run, gates, lease, message]))

    def release(self, member: str, token: int, gates: list[str], result: str, *, failed: bool, run: int = 1) -> bool:
        """A run has ended with `result`: done, dead, retry. failed: a breaker counts it. False: it was not ours."""
        return bool(self.call(["release", member, run, token, gates, result, failed]))

    def call(self, operation: list[Any]) -> Any:
        """The reply to one operation; it may share its round trip with those of other threads."""
        return self.call_many([operation])[0]

    def call_many(self, operations: list[list[Any]]) -> list[Any]:
        """The replies to some operations, carried out at once. Raises redis-py's errors."""
        call = _Call(operations)
        self._calls.append(call)
        if not self._leading.acquire(blocking=False):
            self._wait(call)  # carried out by another, or asked to lead: nobody queues up at one lock
            if call.done:
                return call.result()
        try:
            grants = self._carry_out(*self._take())
        finally:
            self._hand_over_lead()
        if grants:
            self.hand_on(grants)
        return call.result()

    def _wait(self, call: _Call) -> None:
        try:
            call.wake.acquire()
        except BaseException:  # Ctrl-C, say: it may be asked to lead later, and nobody would
            threading.Thread(target=self._withdraw, args=(call,), daemon=True).start()
            raise

    def _withdraw(self, call: _Call) -> None:
        call.wake.acquire()
        if not call.done:
            self._calls.remove(call)
            self._hand_over_lead()

    def _hand_over_lead(self) -> None:
        """To one who has come meanwhile; nobody leads while nobody waits."""
        while True:
            if self._calls:
                self._calls[0].wake.release()
                return
            self._leading.release()
            # one who came in between has found it taken, and waits
            if not self._calls or not self._leading.acquire(blocking=False):
                return

    def close(self) -> None:
        """Close the connections; it can be used again."""
        try:
            self.flush()
        except redis.RedisError:
            pass  # what waits is found by a sweep
        self._leading.acquire()
        try:
            if self._wire is not None:
                self._wire.close()
        finally:
            self._hand_over_lead()
        self.coordination.client.close()

    def later(self, operation: list[Any]) -> None:
        """Carry the operation out with the next one. It may get lost."""
        self._later.append(operation)

    @property
    def waiting(self) -> bool:
        """Whether something waits for a next operation."""
        return bool(self._later)

    def flush(self) -> None:
        """Carry out what waits for a next operation. Returns after what is under way."""
        if self._later or self._leading.locked():
            self.call_many([])

    def _take(self) -> tuple[list[list[Any]], list[_Call]]:
        """What is to be carried out now; others add to it at any moment."""
        calls, later = list(self._calls), list(self._later)
        del self._calls[: len(calls)], self._later[: len(later)]
        return later, calls

    def _carry_out(self, later: list[list[Any]], calls: list[_Call]) -> list[Grant]:
        try:
            return self._trip(later, calls)
        except BaseException as error:
            full = code_of(error) == "OOM"
            freeing = [call for call in calls if full and call.frees]
            refused = [call for call in calls if call not in freeing]
            for call in refused or freeing:
                call.end(error if isinstance(error, Exception) else redis.ConnectionError("interrupted"))
            if refused and (freeing or (full and later)):
                return self._carry_out(later, freeing)
            self._keep(later, error)
            if not isinstance(error, Exception):  # Ctrl-C, the end of the process: of this thread alone
                raise
            return []

    def _keep(self, later: list[list[Any]], error: BaseException) -> None:
        """For a next time, after an error that may pass."""
        if not isinstance(error, redis.ResponseError) or code_of(error) in _PASSING:
            self._later[:0] = later
        elif later:
            logger.error("%d places are given back when their leases end: %s", len(later), error)

    def _trip(self, later: list[list[Any]], calls: list[_Call]) -> list[Grant]:
        operations = later + [operation for call in calls for operation in call.operations]
        if self._wire is None:
            self._wire = self.new_wire()
        freeing = all(call.frees for call in calls)
        replies, grants = read_reply(self._wire.run(*self.arguments(operations), freeing=freeing))
        self.trips += 1
        position = len(later)
        for call in calls:
            call.replies = replies[position : position + len(call.operations)]
            position += len(call.operations)
            call.end()
        return grants

    def new_wire(self) -> ScriptWire:
        """A connection over which the operations can be carried out."""
        return ScriptWire(self.coordination.client, source())

    def arguments(self, operations: list[list[Any]]) -> tuple[str, bytes, str, str, str]:
        """Those of the script that carries the operations out."""
        streams = self.coordination.streams
        published = "" if streams is None else keys.stream_key(streams, "")
        return self.coordination.key(""), to_json(operations), self._process, published, str(self.room())


def read_reply(text: Any) -> tuple[list[Any], list[Grant]]:
    """The replies to the operations, and what they have granted; says in the log what is wrong with what is parked."""
    replies, grants, troubles = (found or [] for found in from_json(text))  # Lua's empty list is an empty object
    for trouble in troubles:
        logger.error("parked deliveries: %s", trouble)
    return replies, [Grant(*grant) for grant in grants]


@cache
def source() -> str:
    """The script: its parts in the order of their names."""
    parts = sorted((part for part in files(__package__).iterdir() if part.name.endswith(".lua")), key=lambda p: p.name)
    return "\n".join(part.read_text() for part in parts)


def answer_of(reply: list[Any]) -> Answer:
    """What the reply to `acquire` or `park` means. Raises Undeclared."""
    match reply:
        case ["go", token, unfinished]:
            return Go(int(token), int(unfinished))
        case ["blocked" | "busy", *gate]:
            return Blocked(gate[0] if gate else "")
        case ["parked"]:
            return Parked()
        case ["settled"]:
            return Stale()
    raise Undeclared(reply[1])
