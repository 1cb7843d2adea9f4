"""The plain Celery example, as its reader runs it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import redis

from tests.support.processes import ROOT, start_python
from tests.support.waiting import wait_until

pytestmark = pytest.mark.apps

EXAMPLE = ROOT / "examples" / "plain_celery.py"


def test_it_is_short_and_has_nothing_of_events_core_but_the_transport() -> None:
    lines = [line for line in EXAMPLE.read_text().splitlines() if line.strip()]
    assert len(lines) <= 15
    assert re.findall(r"events_\w+[\w.]*", "\n".join(lines[4:])) == ["events_core.transport"]


@pytest.mark.parametrize("pool", ["solo", "threads", "prefork"])
def test_a_task_runs(pool: str, redis_url: str, tmp_path: Path) -> None:
    shutil.copy(EXAMPLE, tmp_path)
    env = {"CELERY_BROKER_URL": redis_url.replace("redis://", "redis-streams://", 1)}
    script = start_python("plain_celery.py", env=env, cwd=tmp_path)
    assert script.wait() == 0, script.log
    assert not script.log
    worker = start_python("-m", "celery", "-A", "plain_celery", "worker", "-P", pool, env=env, cwd=tmp_path)
    worker.wait_for_log(r"hello world", timeout=60)
    with redis.Redis.from_url(redis_url) as client:
        wait_until(lambda: client.xlen("stream:celery") == 0, what="the task to be acknowledged")
        assert worker.terminate() == 0
        left = set(client.scan_iter("*"))
    assert not {key for key in left if b"reply" in key or b"alive" in key}, left
