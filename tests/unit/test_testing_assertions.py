"""Assertions about captured events, and what their failures say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import pytest

from events_core import DomainEvent, EventSystem
from events_core.secret import Secret
from events_core.testing import CapturedEvents, capture


class Account(DomainEvent, event_type="testing_assertions.account"):
    name: str
    email: str = "ada@example.com"


class Premium(Account, event_type="testing_assertions.premium"):
    level: int = 1


class Reset(DomainEvent, event_type="testing_assertions.reset"):
    user: str
    token: Annotated[str, Secret]


class Counting(DomainEvent, event_type="testing_assertions.counting"):
    count: int


system = EventSystem("testing-assertions")


@pytest.fixture
def captured() -> Iterator[CapturedEvents]:
    with capture(system) as events:
        yield events


def failure(call: object, *args: object, **kwargs: object) -> list[str]:
    """The lines of the AssertionError."""
    with pytest.raises(AssertionError) as failed:
        call(*args, **kwargs)  # type: ignore[operator]
    return str(failed.value).splitlines()


def test_it_returns_the_first_that_fits(captured: CapturedEvents) -> None:
    first, second = Account(name="Ada"), Account(name="Ada", email="other@example.com")
    system.emit_many([first, second])
    assert captured.assert_emitted(Account, name="Ada") is first
    assert captured.assert_emitted(Account, name="Ada", email="other@example.com") is second


def test_count_is_exact_and_returns_all(captured: CapturedEvents) -> None:
    system.emit_many([Account(name="Ada"), Account(name="Bob"), Premium(name="Ada")])
    assert [event.name for event in captured.assert_emitted(Account, count=3)] == ["Ada", "Bob", "Ada"]
    assert captured.assert_emitted(Account, count=0, name="Eve") == []
    lines = failure(captured.assert_emitted, Account, count=1, name="Ada")
    assert lines[0] == "Account(name='Ada') was emitted 2 times, not 1."


def test_subclasses_are_found(captured: CapturedEvents) -> None:
    premium = Premium(name="Ada")
    system.emit(premium)
    assert captured.of(Account) == [premium] == captured.of(Premium)
    assert captured.assert_emitted(Account) is premium


def test_a_failure_shows_the_nearest_and_everything(captured: CapturedEvents) -> None:
    system.emit_many([Account(name="Bob", email="bob@example.com"), Account(name="Ada"), Reset(user="u", token="t0p")])
    assert failure(captured.assert_emitted, Account, name="Ada", email="bob@x") == [
        "Account(name='Ada', email='bob@x') was not emitted.",
        "Nearest: Account(name='Ada', email='ada@example.com'), in which",
        "  > email is 'ada@example.com', not 'bob@x'",
        "Emitted (3):",
        "  1. Account(name='Bob', email='bob@example.com')",
        "  2. Account(name='Ada', email='ada@example.com')",
        "  3. Reset(user='u', token='***')",
    ]


def test_a_failure_without_candidates_says_so(captured: CapturedEvents) -> None:
    assert failure(captured.assert_emitted, Account) == ["Account() was not emitted.", "Emitted: nothing"]


def test_secrets_are_masked_everywhere(captured: CapturedEvents) -> None:
    system.emit(Reset(user="u", token="canary-1"))
    assert captured.assert_emitted(Reset, token="canary-1")
    for lines in (
        failure(captured.assert_emitted, Reset, token="canary-2"),
        failure(captured.assert_not_emitted, Reset, token="canary-1"),
        failure(captured.assert_nothing_emitted),
    ):
        assert "canary" not in "\n".join(lines)
        assert "***" in "\n".join(lines)


def test_assert_not_emitted(captured: CapturedEvents) -> None:
    system.emit(Account(name="Ada"))
    captured.assert_not_emitted(Account, name="Bob")
    captured.assert_not_emitted(Premium)
    lines = failure(captured.assert_not_emitted, Account, name="Ada")
    assert lines[:2] == ["Account(name='Ada') was emitted:", "These fit (1):"]


def test_assert_nothing_emitted(captured: CapturedEvents) -> None:
    captured.assert_nothing_emitted()
    system.emit(Account(name="Ada"))
    assert failure(captured.assert_nothing_emitted)[0] == "nothing should have been emitted."


def test_a_field_that_is_none_is_told_with_those_that_are(captured: CapturedEvents) -> None:
    with pytest.raises(TypeError, match=r"Account has no field 'nmae': it has name, email"):
        captured.assert_not_emitted(Account, nmae="Ada")


def test_a_field_named_count_is_found_by_of(captured: CapturedEvents) -> None:
    system.emit(Counting(count=3))
    assert [event.count for event in captured.of(Counting)] == [3]


def test_long_values_and_lists_are_shortened(captured: CapturedEvents) -> None:
    system.emit_many([Account(name="x" * 5000) for _ in range(200)])
    lines = failure(captured.assert_nothing_emitted)
    assert len(lines) == 33
    assert lines[-1] == "  ... and 170 more"
    assert max(map(len, lines)) < 300
