"""`emit` within a transaction sends after its commit."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from django.db import connections
from django.db.transaction import TransactionManagementError

from events_core.hold import Sending

logger = logging.getLogger(__name__)

#: After so many emissions of one transaction that failed one after another, the others are not tried any more: each
#: takes as long as EMIT_TIMEOUT.
_FAILURES = 2


class AfterCommit:
    """The hook `EventSystem.deliver_later`: takes what is emitted within ``transaction.atomic``.

    database: the alias of the database whose transactions are meant. Opens no connection to it, and asks it nothing.
    """

    def __init__(self, database: str) -> None:
        self.database = database

    def __call__(self, send: Sending | None) -> bool:
        """Whether the emission waits for the commit; a savepoint's or the transaction's rollback forgets it.

        Raises TransactionManagementError where no commit can be waited for.
        """
        connection: Any = connections[self.database]
        if _is_manual(connection):
            raise TransactionManagementError(
                f"autocommit of the database {self.database!r} is switched off, so that Django cannot tell when a "
                "transaction ends: emit within transaction.atomic() with autocommit on, or emit with now=True after "
                "your commit"
            )
        if not connection.in_atomic_block:
            return False
        if send is not None:
            connection.on_commit(_Waiting(send, self.database, _others(connection)))
        return True

    def watch(self, after_commit: Callable[[], None]) -> bool:
        """Whether `after_commit` is called after the commit, and dropped with a rollback; False outside of both.

        For what waits for something else (a hold block, a delivery), and yet must not outlive its transaction.
        """
        connection: Any = connections[self.database]
        if not connection.in_atomic_block or _is_manual(connection):
            return False
        # Before all others: when one of them fails Django forgets the rest, and that must not look like a rollback.
        connection.run_on_commit.insert(0, (set(connection.savepoint_ids), after_commit, False))
        return True


def _is_manual(connection: Any) -> bool:
    if connection.in_atomic_block:
        return not connection.commit_on_exit  # autocommit was off when the outermost block began
    autocommit = connection.settings_dict["AUTOCOMMIT"] if connection.connection is None else connection.autocommit
    return not autocommit


class _Waiting:
    """One emission that waits for the commit.

    Django calls no further callbacks when one fails. So the one that fails looks after the others of its transaction:
    those that are alive, for Django forgets what is rolled back, and nobody else holds them.
    """

    def __init__(self, send: Sending, database: str, others: list[weakref.ref[_Waiting]]) -> None:
        self._send = send
        self._database = database
        self._others = others
        self._number = len(others)
        self._begun = False
        others.append(weakref.ref(self))

    def __call__(self) -> None:
        """Send it. Raises what sending raised: the transaction is committed already."""
        if self._begun:
            return
        try:
            self.send()
        except Exception:
            self._go_on()
            raise

    def send(self) -> None:
        """Send it; says in the log when it fails."""
        self._begun = True
        try:
            self._send()
        except Exception as error:
            self.say_lost(f"{type(error).__name__}: {error}")
            raise

    def say_lost(self, why: str) -> None:
        """Say what was not sent: by type and id, never with its payload."""
        events = [f"{event.event_type} {event.event_id}" for event in self._send.events]
        logger.error(
            "the transaction on %r is committed, but what was emitted in it was not sent: %s. Emit it again from the "
            "rows that were committed: %s",
            self._database, why, ", ".join(events),
        )  # fmt: skip

    def _go_on(self) -> None:
        failures = 1
        for other in self._later():
            if failures >= _FAILURES:
                other._begun = True
                other.say_lost("not tried, the broker does not answer")
                continue
            try:
                other.send()
            except Exception:
                failures += 1

    def _later(self) -> Iterator[_Waiting]:
        alive = (reference() for reference in self._others[self._number + 1 :])
        return (other for other in alive if other is not None and not other._begun)


def _others(connection: Any) -> list[weakref.ref[_Waiting]]:
    """Those that wait for the same commit."""
    callbacks = (entry[1] for entry in reversed(connection.run_on_commit))
    return next((callback._others for callback in callbacks if isinstance(callback, _Waiting)), [])
