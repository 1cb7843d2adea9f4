"""Dead letters by the page."""

from __future__ import annotations

from uuid import uuid4

import pytest
import redis

from events_core.coordination import Coordination
from events_core.publishing.stored import StoredMessage
from events_worker.dead_letters import DeadLetter, DeadLetters, pages
from events_worker.dead_letters.pages import Pages
from events_worker.ledger import Ledger
from events_worker.outcome import Dead
from events_worker.schedule import Schedule

MESSAGE = StoredMessage("pages.charge", "pages.events", {}, "[]")


class Counting(redis.Redis):
    """Counts its commands."""

    commands = 0

    def execute_command(self, *args: object, **options: object) -> object:
        self.commands += 1
        return super().execute_command(*args, **options)


@pytest.fixture
def coordination(redis_url: str) -> Coordination:
    return Coordination(Counting.from_url(redis_url, decode_responses=True, protocol=2), "shop:")


def keep(coordination: Coordination, number: int) -> list[str]:
    """So many letters; their ids, newest first. Every third is poison."""
    ledger = Ledger(coordination)
    store = DeadLetters(coordination, ledger, Schedule(coordination, ledger), 86400.0)
    ids = []
    for place in range(number):
        dead = Dead("exhausted" if place % 3 else "poison")
        letter = DeadLetter.of(str(uuid4()), MESSAGE, dead, starts=1, first_at=0.0)
        store.keep(letter)
        ids.append(letter.id)
    return ids[::-1]


def poison(letter: DeadLetter) -> bool:
    return letter.reason == "poison"


def test_pages_follow_one_another_and_miss_none(coordination: Coordination) -> None:
    ids = keep(coordination, 450)
    found, first = [], 0
    while True:
        page = Pages(coordination).page(first, 100)
        assert page.count == 450
        assert page.first == first
        found += [letter.id for letter in page.letters]
        if page.after is None:
            break
        first = page.after
    assert found == ids


def test_those_that_fit_are_found_behind_those_that_do_not(coordination: Coordination) -> None:
    keep(coordination, 450)
    one = Pages(coordination).page(0, 100, poison)
    assert len(one.letters) == 100
    assert one.after is not None
    two = Pages(coordination).page(one.after, 100, poison)
    assert len(two.letters) == 50
    assert two.after is None
    assert not {letter.id for letter in one.letters} & {letter.id for letter in two.letters}


def test_it_looks_at_so_many_at_the_most(coordination: Coordination, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says where to go on, so that one page never reads all letters."""
    monkeypatch.setattr(pages, "_AT_MOST", 200)
    keep(coordination, 450)
    page = Pages(coordination).page(0, 100, lambda letter: False)
    assert (page.letters, page.after) == ([], 200)


def test_the_cost_of_a_page_is_that_of_a_page(coordination: Coordination) -> None:
    """However deep it is."""
    keep(coordination, 1000)
    client = coordination.client
    assert isinstance(client, Counting)
    client.commands = 0
    Pages(coordination).page(800, 100)
    assert client.commands == 3


def test_beyond_the_end_and_without_any(coordination: Coordination) -> None:
    assert Pages(coordination).page() == pages.Page([], 0, None, 0)
    keep(coordination, 3)
    assert Pages(coordination).page(7, 100).letters == []
    assert Pages(coordination).page(7, 100).after is None
