"""A process of its own for a suspect: what the worker does when none can be had."""

from __future__ import annotations

import logging
from pathlib import Path
from uuid import uuid4

import pytest

from events_worker.isolation import Isolation, client
from events_worker.run import Run
from tests.support.waiting import wait_until


class NoLedger:
    """Nothing is begun here, so there is nothing to renew."""

    def renew(self, task_id: str) -> None:
        raise AssertionError("a claim that is none was renewed")


def suspect(payload: object = None) -> Run:
    return Run(str(uuid4()), "shop.charge", "shop.events", {}, payload, suspect=True)


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Isolation:
    """An application whose import never ends."""
    (tmp_path / "hanging.py").write_text("import threading\nthreading.Event().wait()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(client, "_BEGIN_WITHIN", 1.5)
    monkeypatch.setattr(client, "LEASE", 0.3)
    return Isolation("hanging", "shop", NoLedger())  # type: ignore[arg-type]


@pytest.mark.parametrize("payload", [None, "x" * 4_000_000], ids=["small", "larger than any socket's buffer"])
def test_an_import_that_hangs_is_not_waited_for(
    hanging: Isolation, caplog: pytest.LogCaptureFixture, payload: object
) -> None:
    """The run is left to the worker, which says so; the nursery ends; no claim is renewed, for there is none."""
    with caplog.at_level(logging.ERROR):
        assert hanging.run(suspect(payload)) is None
    assert "runs in the worker: loading the application there takes longer than 1.5 s" in caplog.text
    wait_until(lambda: hanging._process.poll() is not None, what="the end of the nursery")


def test_an_import_that_fails_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    isolation = Isolation("no_such_application", "shop", NoLedger())  # type: ignore[arg-type]
    with caplog.at_level(logging.ERROR):
        assert isolation.run(suspect()) is None
    assert "no_such_application cannot be imported alone: ModuleNotFoundError" in caplog.text
