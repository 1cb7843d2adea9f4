"""Dead letters, in memory."""

from __future__ import annotations

from events_worker.dead_letters import DeadLetter, DeadLetters
from events_worker.inline.ledger import InlineLedger


class InlineDeadLetters(DeadLetters):
    """As `DeadLetters`, as far as settling goes."""

    def __init__(self, ledger: InlineLedger) -> None:
        self._inline_ledger = ledger
        self.letters: list[DeadLetter] = []

    def settle(self, letter: DeadLetter, run: int, *, force: bool = False) -> bool:
        """See `DeadLetters.settle`."""
        fresh = self._inline_ledger.settle_as("dead", letter.id, run)
        if fresh or force:
            self.keep(letter)
        return fresh or force

    def keep(self, letter: DeadLetter) -> None:
        """See `DeadLetters.keep`."""
        self.letters.append(DeadLetter.from_json(letter.to_json()))  # as it would be stored

    def count(self) -> int:
        """See `DeadLetters.count`."""
        return len(self.letters)
