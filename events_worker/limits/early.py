"""Asking for the run that comes next as soon as the one before has ended.

Where one thread runs one delivery after the other, nobody shares its round trip, and nothing is done meanwhile. So the
question is sent at the end of a run, with what it gives back; while the answer comes, Celery finishes with the one
and prepares the other, which then reads it. Nobody holds a place while another's handler runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import redis

from events_core.admission.client import Admission, Answer, Go, Undeclared, answer_of, read_reply
from events_core.admission.wire import ScriptWire
from events_core.forking import call_in_child
from events_worker.run import Run


class Ahead(Protocol):
    """What a worker has received and not begun."""

    def upcoming(self) -> Run | None:
        """The run that begins at once when the present one has ended, if there is such."""
        ...


class Early:
    """One question at a time, of one thread, on a connection of its own: that of `Admission` is shared.

    give_back: carries out an operation that Redis may not have heard, or that undoes one.
    """

    def __init__(self, admission: Admission, give_back: Callable[[list[Any]], None]) -> None:
        self._admission = admission
        self._give_back = give_back
        self._reset()
        call_in_child(self._reset)

    def _reset(self) -> None:
        #: None where several run at a time.
        self.ahead: Ahead | None = None
        #: What was asked for, and is not answered.
        self.run: Run | None = None
        self._asked_at = 0.0
        self._release: list[Any] = []
        self._wire: ScriptWire | None = None

    def upcoming(self) -> Run | None:
        """The run to be asked for now. None: there is none."""
        return None if self.ahead is None or self.run is not None else self.ahead.upcoming()

    def ask(self, run: Run, acquire: list[Any], release: list[Any]) -> bool:
        """Carry out the release, then the other operation, which asks for the run. Whether it is asked for.

        If it is, `answer` must follow; if not, the release may have been carried out or not. Raises ValueError for what
        cannot be sent.
        """
        if self._wire is None:
            self._wire = self._admission.new_wire()
        arguments = self._admission.arguments([release, acquire])
        self.run, self._release, self._asked_at = run, release, time.monotonic()
        try:
            self._wire.send(*arguments)
        except BaseException as error:
            self.run = None
            if isinstance(error, redis.RedisError):
                return False
            raise
        return True

    def asked(self, headers: dict[str, Any] | None) -> Run | None:
        """The run that was asked for, if these are its message's headers."""
        return self.run if self.run is not None and self.run.headers is headers else None

    def answer(self, run: Run) -> Answer | None:
        """What Redis says of the run. None if it was not asked for, or must be asked for again."""
        if self.run is not run or self._wire is None:
            return None
        self.run = None
        try:
            (_, reply), grants = read_reply(self._wire.receive())
        except BaseException as error:
            self._give_back(self._release)
            if isinstance(error, redis.RedisError):
                return None
            raise
        if grants:
            self._admission.hand_on(grants)
        try:
            found = answer_of(reply)
        except Undeclared:
            return None
        if isinstance(found, Go) and time.monotonic() - self._asked_at > run.lease_ms / 3000:
            # Celery's signals took their time, and nobody has renewed it
            self._relinquish(run, found)
            return None
        return found

    def withdraw(self) -> None:
        """What was asked for will not begin: it gives up what it was given."""
        run = self.run
        if run is not None and isinstance(found := self.answer(run), Go):
            self._relinquish(run, found)

    def _relinquish(self, run: Run, go: Go) -> None:
        self._give_back(["relinquish", run.member, go.token, run.gates])

    def close(self) -> None:
        """Withdraw, and close the connection; it can be used again."""
        self.withdraw()
        if self._wire is not None:
            self._wire.close()
