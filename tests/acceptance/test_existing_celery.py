"""examples/existing_celery: a Celery project before and after it adopts events, started as it always was."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

import pytest

from events_core.transport.schemes import with_streams
from tests.support import markdown
from tests.support.processes import READY, ROOT, Process, start_python

pytestmark = pytest.mark.apps

EXAMPLE = ROOT / "examples" / "existing_celery"
LINES = (r"stock is reserved for order 7$", r"receipt is sent for order 7$")


def project(folder: str, *command: str, env: dict[str, str]) -> Process:
    """A command in the project's folder."""
    return start_python(*command, env={"PYTHONPATH": str(EXAMPLE / folder), **env})


def worker(folder: str, env: dict[str, str]) -> Process:
    """Its worker, started as it always was."""
    process = project(folder, "-m", "celery", "-A", "proj", "worker", "-l", "INFO", "-c", "2", env=env)
    process.wait_for_log(READY, 60)
    return process


@pytest.fixture(params=["redis-streams", "redis", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def broker(request: pytest.FixtureRequest, redis_url: str) -> dict[str, str]:
    """The variables that name the broker: each one that the project might have."""
    if request.param == "rabbitmq":
        return {"CELERY_BROKER_URL": request.getfixturevalue("amqp_url"), "EVENTS_REDIS_URL": redis_url}
    return {"CELERY_BROKER_URL": with_streams(redis_url) if request.param == "redis-streams" else redis_url}


def test_after_it_the_same_commands_do_the_same(broker: dict[str, str]) -> None:
    started = worker("after", broker)
    placed = project("after", "-m", "proj.orders", "7", env=broker)
    assert placed.wait() == 0, placed.log
    for line in LINES:
        started.wait_for_log(line)
    assert started.terminate() == 0


def test_before_it(redis_url: str) -> None:
    env = {"CELERY_BROKER_URL": redis_url}
    started = worker("before", env)
    assert project("before", "-m", "proj.orders", "7", env=env).wait() == 0
    for line in LINES:
        started.wait_for_log(line)


def test_beat_and_inspect_work_as_they_did(redis_url: str, tmp_path: Path) -> None:
    env = {"CELERY_BROKER_URL": with_streams(redis_url)}
    worker("after", env)
    beat = project("after", "-m", "celery", "-A", "proj", "beat", "-s", str(tmp_path / "beat"), "-l", "INFO", env=env)
    beat.wait_for_log(r"beat: Starting")
    asked = project("after", "-m", "celery", "-A", "proj", "inspect", "registered", env=env)
    assert asked.wait(60) == 0, asked.log
    for name in ("report", "reserve_stock", "send_receipt"):
        assert f"proj.tasks.{name}" in asked.log
    assert beat.alive, beat.log


def test_what_the_readme_adds_runs(redis_url: str, tmp_path: Path) -> None:
    """The handler that is no Celery task, and the check that it names."""
    (block,) = [block for block in markdown.blocks(EXAMPLE / "README.md") if block.language == "python"]
    (tmp_path / "more.py").write_text(
        f"from events_core import Limit\nfrom proj.tasks import OrderPlaced, events\n{block.code}"
        "print(*sorted(spec.name for spec in events.event_map.handlers))\n"
    )
    env = {"CELERY_BROKER_URL": with_streams(redis_url)}
    ran = project("after", str(tmp_path / "more.py"), env=env)
    assert ran.wait() == 0, ran.log
    assert ran.log.split() == ["more.tell_crm", "proj.tasks.reserve_stock", "proj.tasks.send_receipt"]
    checked = project("after", "-m", "events_worker.cli", "check", "-A", "proj.tasks", env=env)
    checked.wait()
    assert "proj" in checked.log, checked.log


def test_the_diff_of_the_readme_is_that_of_the_files() -> None:
    (block,) = [block for block in markdown.blocks(EXAMPLE / "README.md") if block.language == "diff"]
    lines = list(_diff())
    assert block.code == "".join(lines)
    added = [line for line in lines if line.startswith("+") and not line.startswith("+++") and line.strip("+\n ")]
    assert len(added) == 10


def _diff() -> Iterator[str]:
    before, after = (
        {path.relative_to(EXAMPLE / folder) for path in (EXAMPLE / folder).rglob("*.py")} for folder in _FOLDERS
    )
    assert before == after
    for path in sorted(before):
        texts = [(EXAMPLE / folder / path).read_text().splitlines(keepends=True) for folder in _FOLDERS]
        yield from difflib.unified_diff(*texts, *(f"{folder}/{path}" for folder in _FOLDERS))


_FOLDERS = ("before", "after")
