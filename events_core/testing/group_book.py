"""Groups in one process, for tests: what the coordination Redis knows of them, without one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from events_core.admission.client import Admission
from events_core.admission.turns import Turns
from events_core.publishing.messages import Carried, Message
from events_core.testing.recorder import Unheard

#: So many equal answers in a row mean that somebody waits for a worker.
_MOST_ASKED = 12


@dataclass
class _Group:
    max_parallel: int
    fields: dict[str, str]
    members: dict[str, str] = field(default_factory=dict)  # delivery id -> waiting, retry, done, dead, cancelled
    state: str = "emitting"
    cancelled: bool = False
    told: bool = False
    answered: list[Any] = field(default_factory=list)
    asked: int = 0

    def count(self, what: str) -> int:
        return sum(state == what for state in self.members.values())

    @property
    def settled(self) -> int:
        return self.count("done") + self.count("dead") + self.count("cancelled")


class GroupBook:
    """Answers the operations on groups that `events_core.admission` has scripts for."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}

    def call_many(self, operations: list[list[Any]]) -> list[Any]:
        """The replies to some operations."""
        return [self.call(operation) for operation in operations]

    def call(self, operation: list[Any]) -> Any:
        """The reply to one operation. Raises NotImplementedError for one that is not of groups."""
        name, *args = operation
        method = getattr(self, f"_{name}", None)
        if method is None:
            raise NotImplementedError(f"a captured system has no coordination Redis: {name!r} needs one")
        return method(*args)

    def max_parallel(self, group: str) -> int:
        """How many of its deliveries run at once."""
        return self._groups[group].max_parallel if group in self._groups else 1

    def is_cancelled(self, group: str, member: str) -> bool:
        """Whether that delivery must not run any more."""
        return group in self._groups and self._groups[group].members.get(member) == "cancelled"

    def enter(self, group: str, message: Message) -> bool:
        """Whether the delivery is a new member of the group, and is to be run."""
        found = self._groups[group]
        member = message.delivery.task_id
        if member in found.members:
            return False  # the handler that emits the group is run again
        found.members[member] = "cancelled" if found.cancelled else "waiting"
        return not found.cancelled

    def settle(self, group: str, member: str, how: str) -> None:
        """A run of a member has ended: done, dead or retry."""
        found = self._groups.get(group)
        if found is not None and member in found.members and found.members[member] != "cancelled":
            found.members[member] = how
            if how == "retry" and found.cancelled:
                found.members[member] = "cancelled"
            self._complete(found)

    def _complete(self, group: _Group) -> None:
        if group.state == "running" and group.settled == len(group.members):
            group.state = "completed"

    def _open(self, group: str, max_parallel: str, lease: int, fields: dict[str, str], entered: int) -> bool:
        found = self._groups.setdefault(group, _Group(int(max_parallel), fields))
        if found.state in ("running", "completed"):
            return False
        found.state = "emitting" if lease else "abandoned"
        return True

    def _seal(self, group: str) -> bool:
        found = self._groups[group]
        if found.state in ("emitting", "abandoned"):
            found.state = "running"
            self._complete(found)
        return True

    def _progress(self, group: str) -> Any:
        found = self._groups.get(group)
        if found is None:
            return False
        counts = [found.count(what) for what in ("done", "dead", "cancelled", "retry")]
        running = counts[-1] if found.max_parallel == 1 else 0
        answer = [found.state, found.max_parallel, len(found.members), *counts, running]
        found.asked = found.asked + 1 if answer == found.answered and found.settled < len(found.members) else 0
        found.answered = answer
        if found.asked >= _MOST_ASKED:
            raise RuntimeError(
                f"the group {group} does not go on while the test waits for it: call events.run(), then ask for its "
                "progress. Code that waits for a group by itself needs a worker"
            )
        return answer

    def _cancel(self, group: str, cursor: str = "0") -> Any:
        found = self._groups.get(group)
        if found is None:
            return False
        found.cancelled = True
        waiting = [member for member, state in found.members.items() if state in ("waiting", "retry")]
        found.members |= dict.fromkeys(waiting, "cancelled")
        self._complete(found)
        return "0"

    def _completed(self, lease: int) -> list[list[Any]]:
        """Those whose completion event is due, as `events_worker.groups` asks for them."""
        due = [(group, found) for group, found in self._groups.items() if found.state == "completed" and not found.told]
        return [
            [
                group,
                len(found.members),
                *(found.count(what) for what in ("done", "dead", "cancelled")),
                *(found.fields.get(name) for name in ("name", "completion", "cause")),
            ]
            for group, found in due
        ]

    def _abandoned(self, pause: int) -> list[list[Any]]:
        return []

    def _free(self, group: str) -> bool:
        self._groups[group].told = True
        return True


class CapturedTurns(Turns):
    """Where captured deliveries with gates go: to the others, in the order of emission."""

    def __init__(self, book: GroupBook, take: Callable[[Sequence[Carried]], None]) -> None:
        self._book = book
        self._take = take

    @property
    def admission(self) -> Admission:
        """The group book, in the place of the scripts."""
        return cast("Admission", self._book)

    def close(self) -> None:
        """Nothing is open."""

    def enter(self, messages: Sequence[Message], group: str | None = None) -> None:
        """They wait with the others."""
        self._take([m for m in messages if group is None or isinstance(m, Unheard) or self._book.enter(group, m)])
