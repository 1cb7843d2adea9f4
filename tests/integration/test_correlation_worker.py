"""The correlation id in a worker: its handlers, its log lines, and what follows from a request."""

from __future__ import annotations

from pathlib import Path

from tests.support import processes
from tests.support.processes import start_python

APP = """
import logging
from events_core import DomainEvent, EventSystem, Retry
from events_core.correlation import correlated, current_correlation_id

events = EventSystem("shop")
events.celery.conf.worker_log_format = "<%(correlation_id)s> %(name)s %(message)s"
logger = logging.getLogger("shop")

class Placed(DomainEvent, event_type="correlated.placed"): ...
class Paid(DomainEvent, event_type="correlated.paid"): ...

@events.handler(Placed, retry=Retry(max_attempts=2, base=0.05))
async def charge(event):
    logger.warning("charging for %s", current_correlation_id())
    return Paid()

@events.handler(Paid, retry=None)
def thank(event):
    raise KeyError
"""


def test_every_line_of_a_chain_has_that_of_its_request(tmp_path: Path, redis_url: str) -> None:
    (tmp_path / "shop.py").write_text(APP)
    env = {"EVENTS_BROKER_URL": redis_url, "EVENTS_APP": None}
    worker = start_python("-m", "events_worker.cli", "worker", "-A", "shop", "-P", "threads", cwd=tmp_path, env=env)
    worker.wait_for_log(processes.READY)
    emit = "import shop\nwith shop.correlated('request-7'): shop.events.emit(shop.Placed())"
    assert start_python("-c", emit, cwd=tmp_path, env=env).wait() == 0
    worker.wait_for_log("is dead")
    said = [line for line in worker.log.splitlines() if line.startswith("<request-7>")]
    assert any("charging for request-7" in line for line in said), worker.log
    assert any("events_worker.settlement" in line and "shop.thank" in line for line in said), worker.log
    assert any(line.startswith("<->") for line in worker.log.splitlines())
