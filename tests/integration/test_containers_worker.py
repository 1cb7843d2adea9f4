"""One scope of the container for each run of a delivery, in real workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.apps import scoped
from tests.apps.harness import Rig, rig
from tests.support.waiting import wait_until

pytestmark = pytest.mark.apps

HERE = "tests.apps.scoped"


@dataclass
class Under:
    """A rig with one worker of a pool."""

    pool: str
    rig: Rig


@pytest.fixture(
    scope="module", params=["default:threads", "dishka:threads", "async-dishka:threads", "async-dishka:prefork"]
)
def under(request: pytest.FixtureRequest, redis_server: Any) -> Iterator[Under]:
    kind, pool = request.param.split(":")
    with rig(scoped, "redis", redis_server) as made:
        made.env = {"TEST_CONTAINER": kind}
        made.worker(pool, 4 if pool == "threads" else 2)
        yield Under(pool, made)


def sessions(under: Under, tag: str, number: int) -> list[dict[str, Any]]:
    """How the sessions of so many runs ended: one for each of them."""
    ended = under.rig.wait_for_records(tag, number, "ended")
    used = [line for line in under.rig.records(tag) if line["what"] != "ended"]
    assert len(ended) == number
    by_process = [Counter((line["pid"], line["session"]) for line in lines) for lines in (used, ended)]
    assert by_process[0] == by_process[1]
    assert set(by_process[0].values()) == {1}
    return ended


def test_each_run_has_a_scope_of_its_own_and_none_is_left_open(under: Under) -> None:
    """Hole 15: 100 events for three handlers. No two share a session, and each is ended, once, after its handler."""
    under.rig.emit_many([scoped.Asked(tag="each", number=number) for number in range(100)])
    ended = sessions(under, "each", 300)
    assert {line["error"] for line in ended} == {None}
    assert Counter(line["what"] for line in under.rig.records("each")) == {
        "asks": 100,
        "asks_soon": 100,
        "Asks": 100,
        "ended": 300,
    }


def test_each_attempt_has_one_that_is_told_of_the_failure(under: Under) -> None:
    emission = under.rig.emit(scoped.Failing(tag="failing"))
    assert under.rig.letter_of(emission, "fails").error_type == "ValueError"
    assert [line["error"] for line in sessions(under, "failing", 2)] == ["ValueError"] * 2


def test_a_timeout_is_a_failure_too_and_the_end_is_not_cancelled(under: Under) -> None:
    """The cancelled async handler, the sync one ended by the alarm (prefork), and the late one (threads)."""
    emission = under.rig.emit(scoped.Hanging(tag="hanging"))
    for handler in ("hangs", "hangs_soon"):
        assert under.rig.letter_of(emission, handler).error_type == "HandlerTimeout"
    assert [line["error"] for line in sessions(under, "hanging", 4)] == ["HandlerTimeout"] * 4


@pytest.mark.parametrize("under", ["async-dishka:prefork"], indirect=True)
def test_a_suspect_in_a_process_of_its_own_has_one_too(under: Under) -> None:
    """The start that follows two that killed their process runs there, with the same container."""
    under.rig.emit(scoped.Deadly(tag="deadly"))
    (ended,) = under.rig.wait_for_records("deadly", 1, "ended", timeout=60)
    assert ended["error"] is None
    programs = [line["program"] == "nursery.py" for line in under.rig.records("deadly", "dies")]
    assert programs == [False, False, True]
    wait_until(lambda: not under.rig.letters(handler=f"{HERE}.dies"), what="no dead letter")
