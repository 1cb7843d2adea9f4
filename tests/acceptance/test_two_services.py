"""examples/two_services, as its reader runs it, and with a service that is killed and comes back."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from examples.two_services.ledger import FOLDER
from tests.support import processes
from tests.support.two_services import QUEUES, Services
from tests.support.waiting import wait_until

pytestmark = pytest.mark.apps

ORDERS = 40
STARTED = r"(\w+)\.1 started \(pid=(\d+)\)"


@pytest.fixture
def services(broker_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Services:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    return Services(broker_url, redis_url, tmp_path)


@pytest.mark.chaos
def test_a_service_that_is_killed_has_missed_nothing(services: Services) -> None:
    """Shipping dies with events in its hands, orders go on being placed meanwhile, and it comes back."""
    services.start("orders", "shipping", "mail")
    placing = services.place(1, ORDERS)
    wait_until(lambda: len(services.parcels.values()) >= ORDERS // 8, what="shipping to be at work")
    services.kill("shipping")
    assert placing.wait(60) == 0, placing.log
    wait_until(lambda: len(services.letters.values()) == ORDERS, 60, "mail, which goes on without shipping")
    assert services.missing(ORDERS)
    services.start("shipping")
    services.wait_for_all(ORDERS, 60)
    print(services.report(ORDERS))


def test_by_its_procfile(services: Services) -> None:
    """The commands of its README: all services by one, orders, and what became of them."""
    with _honcho(services) as honcho:
        for name in QUEUES:
            services.wait_until_bound(name)
        assert services.place(1, 10).wait(60) == 0
        services.wait_for_all(10, 60)
        shown = processes.start_python("-m", "examples.two_services.show", env=services.env)
        assert shown.wait() == 0
        assert "shipping: 10 parcels, 0 written again" in shown.log
        assert "mail: 10 letters, 0 written again" in shown.log
        honcho.terminate(60)
    assert set(re.findall(STARTED, honcho.log)), honcho.log


@contextmanager
def _honcho(services: Services) -> Iterator[processes.Process]:
    """`honcho start` of the example's Procfile; nothing that it starts outlives the block."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    assert shutil.which("events", path=path), "no command events beside this Python: make setup installs it"
    command = ["-m", "honcho", "-e", str(services.folder / "no.env"), "-f", "examples/two_services/Procfile"]
    honcho = processes.start_python(
        *command, "-d", ".", "start", "--no-colour", env={**services.env, "PATH": path}, name="honcho start"
    )
    try:
        yield honcho
    finally:
        honcho.kill9()
        for _, pid in re.findall(STARTED, honcho.log):
            try:
                os.killpg(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass  # it has ended, as it should
