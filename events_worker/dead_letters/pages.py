"""Dead letters by the page: what one page costs does not grow with their number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from events_core.coordination import Coordination
from events_worker.dead_letters.letter import DeadLetter
from events_worker.dead_letters.store import _read

#: Letters that are read in one round trip.
_AT_ONCE = 200
#: Letters that are looked at for one page, whether they fit or not.
_AT_MOST = 5_000


@dataclass(frozen=True, slots=True)
class Page:
    """Letters, newest first.

    first: the place of the first that was looked at, of all that there are; the newest has 0. after: the place to go
    on from; None: there are no more. count: of all letters, whether they fit or not.
    """

    letters: list[DeadLetter]
    first: int
    after: int | None
    count: int


class Pages:
    """Reads them. Raises redis.RedisError."""

    def __init__(self, coordination: Coordination) -> None:
        self._client = coordination.client
        self._by_time, self._letters = coordination.key("dead"), coordination.key("dead:letters")

    def page(self, first: int = 0, size: int = 100, fits: Callable[[DeadLetter], bool] = lambda letter: True) -> Page:
        """At most `size` letters that fit, of at most 5,000 from place `first` on that are looked at."""
        count = int(self._client.zcard(self._by_time))
        found: list[DeadLetter] = []
        place = first
        while place < min(count, first + _AT_MOST):
            members = self._read(place)
            if not members:
                break
            for letter in members:
                if len(found) == size:
                    return Page(found, first, place, count)
                place += 1
                if letter is not None and fits(letter):
                    found.append(letter)
        return Page(found, first, place if place < count else None, count)

    def _read(self, place: int) -> list[DeadLetter | None]:
        members: Any = self._client.zrevrange(self._by_time, place, place + _AT_ONCE - 1, withscores=True)
        if not members:
            return []
        texts = self._client.hmget(self._letters, [str(member) for member, _ in members])
        return [
            None if text is None else _read(text, dead_at) for (_, dead_at), text in zip(members, texts, strict=True)
        ]
