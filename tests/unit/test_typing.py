"""The public types, as a user's mypy sees them."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
from mypy import api

from tests.support.processes import ROOT

pytestmark = pytest.mark.apps

SAMPLE = """
    from uuid import UUID

    from events_core import DomainEvent, EmitError, EventHandler, EventMap, EventSystem, GiveUp, Retry, RetryLater

    events = EventSystem("shop", handlers=["shop.handlers"])

    class Placed(DomainEvent, event_type="typing.placed", version=2):
        order_id: UUID
        email: str = ""

    @events.handler(Placed, retry=Retry(max_attempts=5, on=(OSError,)), queue="mail", timeout=30)
    async def receipt(event: Placed) -> None:
        reveal_type(event.order_id)  # UUID

    @events.handler("order.*", retry=None, aliases=["old"])
    def log(event: DomainEvent) -> list[Placed]:
        raise RetryLater(5) if event.version else GiveUp("no")

    @events.handler(Placed)
    class Confirm(EventHandler[Placed]):
        def __init__(self, orders: dict[str, int]) -> None:
            self.orders = orders

        def handle(self, event: Placed) -> list[DomainEvent]:
            return [Placed(order_id=event.order_id)]

    reveal_type(receipt)  # def (event: Placed) -> Coroutine
    reveal_type(Confirm(orders={}).orders)  # dict[str, int]
    reveal_type(Placed.event_type)  # str
    reveal_type(Placed.version)  # int

    async def use(placed: Placed) -> None:
        emission = events.emit(placed)
        reveal_type(emission.event_id)  # UUID
        reveal_type(emission.deliveries[0].task_id)  # str
        reveal_type(events.emit_many([placed])[0].deliveries[0].queue)  # str
        reveal_type(await events.aemit(placed, now=True))  # Emission
        reveal_type(await events.aemit_many([placed]))  # list[Emission]
        try:
            events.emit(placed)
        except EmitError as error:
            reveal_type(error.unsent)  # list[tuple[str, str, str, fallback=Delivery]]

    EventMap().bind(Placed, receipt)
"""

WRONG = """
    from events_core import DomainEvent, EventSystem, Retry
    events = EventSystem("shop")
    class Placed(DomainEvent):
        order_id: int
    Placed(order_id="seven")  # arg-type
    Placed()  # call-arg
    events.emit("text")  # arg-type
    events.emit(Placed)  # arg-type
    events.handler(Placed, retry=3)  # arg-type
    events.handler(Placed, tiemout=3)  # call-arg
    events.handler(int)  # arg-type
    Retry(max_attempts="3")  # arg-type
"""


@pytest.fixture(autouse=True)
def environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """mypy leaves this behind, and other tests' commands are not forked where the environment has changed."""
    monkeypatch.setenv("MYPY_CONFIG_FILE_DIR", "")


def check(source: str, tmp_path: Path, *options: str) -> list[str]:
    file = tmp_path / "sample.py"
    file.write_text("from __future__ import annotations\n" + textwrap.dedent(source))
    config = ["--config-file", str(ROOT / "pyproject.toml")]
    output, errors, _ = api.run([*config, *options, "--hide-error-context", "--no-error-summary", str(file)])
    assert not errors
    return output.splitlines()


@pytest.mark.parametrize("plugin", [False, True], ids=["plain", "pydantic-plugin"])
def test_public_types_are_what_the_docs_say(plugin: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events, handlers, emit and its errors have precise types under --strict, with pydantic's plugin too."""
    monkeypatch.chdir(ROOT)
    config: tuple[str, ...] = ()
    if plugin:
        (tmp_path / "mypy.ini").write_text("[mypy]\nplugins = pydantic.mypy\nstrict = true\n")
        config = ("--config-file", str(tmp_path / "mypy.ini"), "--follow-imports", "silent", "--ignore-missing-imports")
    told = check(SAMPLE, tmp_path, *config)
    lines = SAMPLE.splitlines()
    wanted = {number: line.partition("  # ")[2] for number, line in enumerate(lines, 2) if "reveal_type" in line}
    seen = dict.fromkeys(wanted, "")
    for line in told:
        found = re.match(r".*sample\.py:(\d+): note: Revealed type is \"(.*)\"", line)
        assert found, line
        seen[int(found[1])] = re.sub(r"\b[a-z_]+\.|[?]", "", found[2])
    for number, text in wanted.items():
        assert seen[number].startswith(text), (lines[number - 2], seen[number])


def test_mistakes_are_told_by_mypy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong field, a class in place of an event, a misspelt option: found before the program runs."""
    monkeypatch.chdir(ROOT)
    told = {
        int(found[1]): found[2]
        for line in check(WRONG, tmp_path)
        if (found := re.match(r".*sample\.py:(\d+): error: .*\[([a-z-]+)\]", line))
    }
    wanted = {n: line.partition("  # ")[2] for n, line in enumerate(WRONG.splitlines(), 2) if "  # " in line}
    assert told == wanted
