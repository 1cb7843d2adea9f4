"""The ten mistakes of docs/mistakes.md, made as a new user makes them: each says what the page says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.markdown import code_words
from tests.support.processes import ROOT, start_python
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.usefixtures("redis_server"), pytest.mark.apps]

PAGE = ROOT / "docs" / "mistakes.md"
SYSTEM = """
from events_core import DomainEvent, EventSystem, NotificationEvent

events = EventSystem("shop")

class OrderPlaced(DomainEvent, event_type="order.placed"):
    number: int

class Told(NotificationEvent, event_type="order.told"):
    number: int
"""
HANDLERS = """
from shop import OrderPlaced, events

@events.handler(OrderPlaced)
def ship(event: OrderPlaced) -> None: ...

@events.handler(OrderPlaced, queue="mail")
def mail(event: OrderPlaced) -> None: ...
"""


class Project:
    """A folder with an application in it."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.env = folder, {"EVENTS_BROKER_URL": url, "EVENTS_APP": None}
        self.write("shop", SYSTEM)
        self.write("handlers", HANDLERS)

    def write(self, name: str, code: str) -> None:
        (self.folder / f"{name}.py").write_text(code)

    def run(self, code: str, **env: str | None) -> str:
        """What a script prints, tracebacks included."""
        self.write("script", f"import logging; logging.basicConfig()\n{code}")
        ran = start_python("script.py", cwd=self.folder, env={**self.env, **env})
        ran.wait()
        return ran.log

    def place_order(self) -> None:
        self.run("import handlers, shop; shop.events.emit(shop.OrderPlaced(number=1))")

    def events(self, *args: str) -> str:
        ran = start_python("-m", "events_worker.cli", *args, cwd=self.folder, env=self.env)
        ran.wait()
        return ran.log

    def worker(self, *args: str) -> processes.Process:
        worker = start_python(*args, cwd=self.folder, env=self.env)
        worker.wait_for_log(processes.READY)
        return worker


@pytest.fixture
def project(tmp_path: Path, redis_url: str) -> Project:
    return Project(tmp_path, redis_url)


def messages(number: int) -> list[str]:
    """What one sees, by docs/mistakes.md, after that mistake."""
    part = re.split(r"^## \d+\. ", PAGE.read_text(), flags=re.M)[number]
    rows = [line for line in part.splitlines() if line.startswith("| ") and "---" not in line and "you see" not in line]
    return [code_words(row.split(" | ", 1)[1])[0] for row in rows]


def shows(message: str, text: str) -> bool:
    """Whether the text has the message; the ellipsis of the page stands for anything."""
    pattern = ".*?".join(map(re.escape, message.split("…")))
    return re.search(pattern, re.sub(r"\s+", " ", text)) is not None


def told(number: int, *texts: str | Callable[[], str]) -> None:
    """Assert that the texts have the messages of the page, one each, in order. A callable is asked until it does."""
    expected = messages(number)
    assert len(expected) == len(texts)
    for message, text in zip(expected, texts, strict=True):
        if callable(text):
            wait_until(lambda text=text, message=message: shows(message, text()), 30, message)  # type: ignore[misc]
        else:
            assert shows(message, text), f"{message!r} is not in:\n{text}"


def test_1_the_worker_does_not_import_the_handlers(project: Project) -> None:
    project.place_order()
    worker = project.worker("-m", "events_worker.cli", "worker", "-A", "shop", "-P", "solo")
    told(1, lambda: worker.log, lambda: worker.log)


def test_2_no_worker_takes_from_the_queue(project: Project) -> None:
    project.place_order()
    project.worker("-m", "events_worker.cli", "worker", "-A", "handlers", "-P", "threads", "-Q", "shop.events")
    told(2, lambda: project.events("status", "-A", "handlers"))


def test_3_a_forgotten_await(project: Project) -> None:
    code = """
import asyncio, shop

async def view():
    shop.events.aemit(shop.OrderPlaced(number=1))

asyncio.run(view())
"""
    told(3, project.run(code))


def test_4_a_sync_call_in_an_async_view(project: Project) -> None:
    """Told once, however often it is done; within a handler or a held block nothing waits, and nothing is said."""
    code = """
import asyncio, handlers, shop
from shop import OrderPlaced, events

async def view():
    with events.hold():
        events.emit(OrderPlaced(number=0))
        print("held", flush=True)
    for number in range(3):
        events.emit(OrderPlaced(number=number))

asyncio.run(view())
"""
    printed = project.run(code)
    told(4, printed)
    assert printed.count("stands still") == 1


def test_5_an_event_that_is_changed(project: Project) -> None:
    printed = project.run("import shop; shop.OrderPlaced(number=1).number = 2")
    told(5, printed, printed)
    code = "import dataclasses, shop\n@dataclasses.dataclass\nclass Paid(shop.OrderPlaced):\n    sum: int\nPaid(sum=3)"
    assert "Paid is decorated with @dataclass: remove it, events are models already" in project.run(code)


@pytest.mark.parametrize("code", ["events.handler(OrderPlaced)(lambda event: None)", "f()"])
def test_6_a_lambda(project: Project, code: str) -> None:
    inner = "def f():\n    @events.handler(OrderPlaced)\n    def inner(event): ...\n"
    told(6, project.run(f"from shop import OrderPlaced, events\n{inner}{code}"))


def test_7_no_broker(project: Project) -> None:
    emit = "import handlers; from shop import *; events.emit({}(number=1))"
    told(
        7,
        project.run(emit.format("OrderPlaced"), EVENTS_BROKER_URL=None),
        project.run(emit.format("Told")),
        project.run(emit.format("OrderPlaced"), EVENTS_BROKER_URL="redis://127.0.0.1:1/0"),
    )


def test_8_a_wrong_type_name(project: Project) -> None:
    project.write("handlers", "from shop import events\n@events.handler('order.placd')\ndef ship(event): ...\n")
    worker = project.worker("-m", "events_worker.cli", "worker", "-A", "handlers", "-P", "solo")
    emitted = project.run("import handlers, shop; shop.events.emit(shop.OrderPlaced(number=1))")
    told(8, project.events("check", "-A", "handlers"), emitted)
    told(8, lambda: worker.log, emitted)


def test_9_two_applications_with_one_name(project: Project) -> None:
    project.write("second", "import shop\nfrom events_core import EventSystem\nagain = EventSystem('shop')\n")
    checked = project.events("check", "-A", "second:again")
    code = """
from events_core import DomainEvent, EventSystem
events = EventSystem("shop")
class Charged(DomainEvent, event_type="charged"): ...
@events.handler(Charged)
def charge(event): ...
"""
    project.write("billing", code)
    project.run("import billing; billing.events.emit(billing.Charged())")
    worker = project.worker("-m", "events_worker.cli", "worker", "-A", "handlers", "-P", "solo")
    told(9, checked, lambda: worker.log)


def test_10_a_celery_app_that_does_not_know_us(project: Project) -> None:
    project.env["URL"] = project.env["EVENTS_BROKER_URL"].replace("redis://", "redis-streams://", 1)
    imports = "import os\nfrom celery import Celery\nimport events_core.transport\n"
    project.write("stranger", imports + 'app = Celery(broker=os.environ["URL"])')
    celery = ("-m", "celery", "-A", "stranger", "worker", "-P", "solo", "-Q", "shop.events", "-l", "INFO")
    stranger = project.worker(*celery)
    project.place_order()
    told(10, lambda: stranger.log)


def test_the_page_names_ten() -> None:
    assert len(re.findall(r"^## \d+\. ", PAGE.read_text(), flags=re.M)) == 10
