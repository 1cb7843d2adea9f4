"""The README and docs/: what they show runs, and what they list is what the code has."""

from __future__ import annotations

import ast
import json
import logging
import re
import shlex
import typing
from pathlib import Path

import click
import pytest

from events_core import DomainEvent, EventMap
from events_core.admission.turns import GRANT_HEADER
from events_core.emitter import GROUP_HEADER
from events_core.envelope import Envelope
from events_core.publishing.messages import MessageBuilder
from events_core.publishing.redis import encode
from events_core.settings import Settings
from events_worker.cli import main
from events_worker.cli.listing import ListingGroup
from events_worker.cli.options import PassThrough
from events_worker.dead_letters.letter import SHOWN
from events_worker.outcome import Reason
from events_worker.run import MEMBER_HEADER, ONCE_HEADER, Run
from tests.support import markdown
from tests.support.markdown import code_words, table
from tests.support.processes import ROOT, start_python, start_worker
from tests.support.redis_server import RedisServer

README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = markdown.pages()
FOLLOWED = ("quickstart.md", "outside.md")  # by tests of their own, file by file
SOURCES = [path for package in ("events_core", "events_worker") for path in sorted((ROOT / package).rglob("*.py"))]
SCRIPTS = sorted((ROOT / "events_core" / "admission").glob("*.lua"))


def ids(page: Path) -> str:
    return page.name


class TestReadme:
    def test_it_is_short(self) -> None:
        assert len(README.read_text().splitlines()) <= 150

    def test_its_twenty_lines_are_the_quickstart_that_is_tested(self) -> None:
        (block,) = [block for block in markdown.blocks(README) if block.language == "python"]
        assert block.code == (ROOT / "examples" / "quickstart" / "shop.py").read_text()
        assert len([line for line in block.code.splitlines() if line.strip()]) <= 20

    def test_each_promise_names_tests_that_exist(self) -> None:
        for promise, *_, tests in table(README, "promise"):
            named = re.findall(r"\[(test_\w+)\]\((tests/[\w/]+\.py)\)", tests)
            assert named, f"{promise}: names no test"
            for name, file in named:
                assert re.search(rf"\bdef {name}\(", (ROOT / file).read_text()), f"{file} has no {name}"

    def test_its_commands_are_targets_of_make(self) -> None:
        makefile = (ROOT / "Makefile").read_text()
        for command, _ in table(README, "command"):
            assert re.search(rf"^{code_words(command)[0].removeprefix('make ')}:", makefile, re.M)


class TestLinks:
    @pytest.mark.parametrize("page", PAGES, ids=ids)
    def test_each_leads_somewhere(self, page: Path) -> None:
        for text, target in markdown.links(page):
            if target.startswith("https://"):
                continue
            name, _, anchor = target.partition("#")
            file = (page.parent / name).resolve() if name else page
            assert file.is_file(), f"[{text}]({target}): no such file"
            assert not anchor or anchor in markdown.anchors(file), f"[{text}]({target}): no such heading"

    def test_the_index_lists_every_page(self) -> None:
        listed = {target for _, target in markdown.links(DOCS / "README.md")}
        assert listed == {page.name for page in DOCS.glob("*.md")} - {"README.md"}


class TestExamples:
    @pytest.mark.parametrize(
        "page",
        [p for p in PAGES if p.name not in FOLLOWED and any(b.language == "python" for b in markdown.blocks(p))],
        ids=ids,
    )
    def test_the_python_of_a_page_runs(self, page: Path, tmp_path: Path) -> None:
        """From top to bottom, as one module."""
        code = [block.code for block in markdown.blocks(page) if block.language == "python"]
        (tmp_path / "page.py").write_text("\n".join(code))
        ran = start_python("-c", "import page", cwd=tmp_path)
        assert ran.wait() == 0, ran.log

    @pytest.mark.parametrize("page", PAGES, ids=ids)
    def test_json_is_json(self, page: Path) -> None:
        for block in markdown.blocks(page):
            if block.language == "json":
                json.loads(block.code)

    @pytest.mark.parametrize("page", PAGES, ids=ids)
    def test_commands_and_their_options_exist(self, page: Path) -> None:
        for block in markdown.blocks(page):
            for line in block.code.splitlines() if block.language == "sh" else []:
                words = shlex.split(line.partition(" | ")[0], comments=True)
                if "events" in words[:2]:
                    _check_command(words[words.index("events") + 1 :])


def _check_command(words: list[str]) -> None:
    command: click.Command = main
    while isinstance(command, click.Group):
        if isinstance(command, ListingGroup) and (not words or words[0] not in command.commands):
            words = [command.default, *words]
        command = command.commands[words.pop(0)]
    if not isinstance(command, PassThrough):
        # parsed as typed, and not run
        command.make_context("events", [word.replace("<event id>", "id") for word in words])


class TestSettings:
    ROWS = table(DOCS / "settings.md", "variable")

    def test_every_setting_is_there_in_order(self) -> None:
        assert [code_words(row[0])[0] for row in self.ROWS] == [f"EVENTS_{n.upper()}" for n in Settings.model_fields]

    @pytest.mark.parametrize("row", ROWS, ids=lambda row: code_words(row[0])[0])
    def test_its_default_is_the_one_shown(self, row: list[str]) -> None:
        default = Settings.model_fields[code_words(row[0])[0].removeprefix("EVENTS_").lower()].default
        shown = code_words(row[1])
        if default == "":  # the system's name decides, or something has to be set
            assert row[1] == "none" or "{name}" in row[1] or row[1].startswith("the broker")
        else:
            assert shown == [str(default)]

    def test_no_page_names_a_variable_that_is_not_there(self) -> None:
        known = {f"EVENTS_{name.upper()}" for name in Settings.model_fields}
        for page in PAGES:
            named = set(re.findall(r"\bEVENTS_[A-Z_]+\b", page.read_text()))
            assert {name for name in named if not name.startswith("EVENTS_TEST_")} <= known, page.name


class TestLogging:
    PAGE = DOCS / "logging.md"

    def test_every_logger_and_level_is_there_and_no_other(self) -> None:
        listed = {(code_words(row[0])[0], row[1]) for row in table(self.PAGE, "logger")}
        assert listed == {found for path in SOURCES for found in _logged(path)}

    @pytest.mark.parametrize("row", table(PAGE, "line"), ids=lambda row: row[0])
    def test_the_lines_to_watch_for_are_written(self, row: list[str]) -> None:
        assert _is_said(code_words(row[0])[0])

    def test_importing_sets_no_level_and_adds_no_handler(self) -> None:
        for name in ("events_core", "events_worker"):
            assert logging.getLogger(name).level == logging.NOTSET
            assert not logging.getLogger(name).handlers


def _logged(path: Path) -> set[tuple[str, str]]:
    tree = ast.parse(path.read_text())
    given = [
        node.args[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "getLogger"
    ]
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    if given and isinstance(given[0], ast.Constant):
        name = str(given[0].value)
    calls = [
        node.func for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    return {(name, f.attr) for f in calls if isinstance(f.value, ast.Name) and f.value.id == "logger"}


def _is_said(line: str) -> bool:
    """Whether some text in the source holds these words."""
    nodes = (node for path in SOURCES for node in ast.walk(ast.parse(path.read_text())))
    return any(isinstance(n, ast.Constant) and isinstance(n.value, str) and line in n.value for n in nodes)


SHOP = """
from events_core import DomainEvent, EventSystem, Limit, Retry

events = EventSystem("shop")


class Ordered(DomainEvent, event_type="shop.ordered"):
    number: int


@events.handler(Ordered, limit=Limit("desk", 1), ordered_by="number")
def serve(event: Ordered) -> None: ...


@events.handler(Ordered, retry=Retry(max_attempts=2, base=0.01))
def fail(event: Ordered) -> None:
    raise ValueError


if __name__ == "__main__":
    group = events.emit_group([Ordered(number=number) for number in (1, 1, 2)], max_parallel=2)
    progress = group.wait(timeout=60.0)
    assert (progress.done, progress.dead) == (3, 3), progress
"""


class TestProduction:
    LINES = re.findall(r"^ *(ACL SETUSER shop .*)$", (DOCS / "production.md").read_text(), re.M)

    @pytest.mark.parametrize(("line", "broker"), list(zip(LINES, (False, True), strict=True)), ids=["beside", "broker"])
    def test_its_access_lists_permit_enough(
        self, line: str, broker: bool, own_redis_server: RedisServer, tmp_path: Path
    ) -> None:
        url = own_redis_server.url()
        as_shop = f"redis://shop:PASSWORD@127.0.0.1:{own_redis_server.port}/0"
        with own_redis_server.client() as client:
            client.execute_command(*line.split())
        (tmp_path / "shop.py").write_text(SHOP)
        env = {"EVENTS_BROKER_URL": as_shop if broker else url, "EVENTS_REDIS_URL": None if broker else as_shop}
        start_worker("shop", env=env, cwd=tmp_path)
        ran = start_python("shop.py", env=env, cwd=tmp_path)
        assert ran.wait() == 0, ran.log
        with own_redis_server.client() as client:
            # redis-py says its name with CLIENT SETINFO, and goes on where it may not: before Redis 7 that is dangerous
            assert {denied["object"] for denied in client.acl_log()} <= {"client"}


class TestRunbook:
    @pytest.mark.parametrize(
        "line",
        [word for row in table(DOCS / "runbook.md", "it says") for word in code_words(row[0])],
    )
    def test_what_a_worker_says_that_does_not_start(self, line: str) -> None:
        assert line in ("consumer: Cannot connect", "PRECONDITION_FAILED") or _is_said(line)  # Celery's, RabbitMQ's


class TestDeadLetters:
    PAGE = DOCS / "retries-and-dead-letters.md"

    def test_every_reason_is_there(self) -> None:
        assert [code_words(row[0])[0] for row in table(self.PAGE, "reason")] == list(typing.get_args(Reason))

    def test_every_field_of_the_json_is_there(self) -> None:
        shown = [word for row in _table_with(self.PAGE, "fingerprint") for word in code_words(row[0])]
        assert sorted(shown) == sorted(SHOWN)


def _table_with(page: Path, first: str) -> list[list[str]]:
    """The rows of the table in whose first column this word stands."""
    found = [part for part in re.split(r"\n(?!\|)", markdown.prose(page)) if f"\n| `{first}` |" in part]
    return [row.strip("|").split(" | ") for row in found[0].strip().splitlines()[2:]]


class Ordered(DomainEvent, event_type="docs.ordered"):
    order_id: int


def handle(event: Ordered) -> None: ...


class TestMessageFormat:
    PAGE = DOCS / "message-format.md"

    def test_the_envelope(self) -> None:
        envelope = json.loads(Envelope.of(Ordered(order_id=1)).to_json())
        assert [code_words(row[0])[0] for row in table(self.PAGE, "field")] == list(envelope)

    def test_the_example_is_an_envelope(self) -> None:
        example, *_ = [block.code for block in markdown.blocks(self.PAGE) if block.language == "json"]
        assert Envelope.parse(json.loads(example)[0][0]).type == "order.placed"

    def test_the_headers(self) -> None:
        shown = {code_words(row[0])[0]: row[1] for row in table(self.PAGE, "header")}
        message = _message()
        again = Run.of("1", "h", "q", message.headers, {}, redelivered=False).next_message(attempt=2).message()
        asked = {"events-copy", "events-in-vain", "events-dangers", ONCE_HEADER, MEMBER_HEADER}
        on_some = {"events-chain", GROUP_HEADER, GRANT_HEADER} | asked
        assert set(shown) == set(message.headers) | set(again.headers) | on_some
        assert {name for name, text in shown.items() if "Only when" not in text} - on_some == set(message.headers)
        assert all("Only on" in shown[name] for name in on_some)

    def test_the_form_on_redis(self) -> None:
        stored = json.loads(encode(_message()))
        rows = {code_words(row[0])[0]: row[1] for row in table(self.PAGE, "key")}
        assert set(rows) == set(stored)
        assert set(stored["properties"]) <= set(code_words(rows["properties"]))

    def test_the_keys_of_the_coordination_redis(self) -> None:
        used = {key for path in SOURCES for key in re.findall(r'coordination\.key\(f?"([^"]+)"\)', path.read_text())}
        used |= {key for path in SCRIPTS for key in re.findall(r"prefix \.\. '([^']+)'", path.read_text())}
        listed = {_constant(code_words(row[0])[0]) for row in _table_with(self.PAGE, "dead")}
        assert listed == {_constant(key) for key in used}


def _constant(key: str) -> str:
    """What of a key does not vary."""
    return key.partition("{")[0]


def _message() -> typing.Any:
    event, event_map = Ordered(order_id=1), EventMap()
    spec = event_map.bind(Ordered, handle, name="docs.handle")
    envelope = Envelope.of(event)
    (message,) = MessageBuilder("docs.events").messages([spec], event, envelope, envelope.to_json(), None)
    return message
