"""An application with limits for tests of the command `events`: its handlers wait until the file `go` is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.processes import child_env
from tests.support.shop import Shop

# Its system is `shop`, so that its keys are those of tests.support.admission.Gatehouse.
SOURCE = '''
"""Transfers: two at once, one at a time for each account, and a ledger in order."""

from __future__ import annotations

import os
import time
from pathlib import Path

from events_core import Breaker, DomainEvent, EventSystem, Limit, Rate

events = EventSystem("shop")


class Transferred(DomainEvent, event_type="money.transferred"):
    number: int
    account: str = "a"


@events.handler(Transferred, limit=Limit("bank", 2), aliases=["bank.send"])
def transfer(event: Transferred) -> None:
    folder = Path(os.environ["SHOP_FILES"])
    (folder / f"began-{event.event_id}").touch()
    while not (folder / "go").exists():
        time.sleep(0.02)
    (folder / f"done-{event.event_id}").touch()


@events.handler(Transferred, ordered_by="account", breaker=Breaker("db"), limit=Rate("api", 100))
def book(event: Transferred) -> None: ...
'''


def bank_at(folder: Path, broker_url: str, redis_url: str = "") -> Shop:
    """The application in a folder."""
    return Shop.at(folder, broker_url, redis_url, source=SOURCE)


def run(bank: Shop, code: str) -> str:
    """Runs code in a process of the application's own, which has imported `shop`; what it printed."""
    ran = subprocess.run(
        [sys.executable, "-c", f"import shop\n{code}"],
        env=child_env(bank.env),
        cwd=bank.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def transfer(bank: Shop, count: int) -> None:
    """Emits so many transfers."""
    run(bank, f"shop.events.emit_many([shop.Transferred(number=i, account=str(i % 3)) for i in range({count})])")


def began(bank: Shop) -> int:
    """How many transfers have begun."""
    return len(list(bank.folder.glob("began-*")))


def done(bank: Shop) -> int:
    """How many transfers are done."""
    return len(list(bank.folder.glob("done-*")))
