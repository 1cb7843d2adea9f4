"""Dead letters: deliveries that will not be tried again by themselves, kept whole."""

from events_worker.dead_letters.letter import DeadLetter
from events_worker.dead_letters.store import DeadLetters

__all__ = ["DeadLetter", "DeadLetters"]
