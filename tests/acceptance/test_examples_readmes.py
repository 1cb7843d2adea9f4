"""The READMEs of the examples: their commands exist, and what they show is what is printed."""

from __future__ import annotations

import importlib.util
import itertools
import re
import shlex
import signal
from collections.abc import Callable
from pathlib import Path

import click
import psutil
import pytest
from celery.bin.celery import celery

from events_core.settings import Settings
from events_worker.cli import main
from events_worker.cli.listing import ListingGroup
from events_worker.cli.options import PassThrough
from tests.support import markdown
from tests.support.markdown import Block
from tests.support.processes import ROOT, start_python

pytestmark = pytest.mark.apps

EXAMPLES = ROOT / "examples"
READMES = sorted(EXAMPLES.glob("*/README.md"))
#: Commands that come from elsewhere.
OTHERS = {"cat", "curl", "make", "pip", "redis-cli", "source", "."}
WHOLE = re.compile(r"python -m (examples\.\w+)\n")


def ids(page: Path) -> str:
    return page.parent.name


def shown() -> dict[str, str]:
    """What each example's own command prints, as its README says: the `text` that follows the command."""
    found = {}
    for page in READMES:
        blocks = markdown.blocks(page)
        for command, output in itertools.pairwise(blocks):
            whole = WHOLE.fullmatch(command.code) if command.language == "sh" else None
            if whole and output.language == "text":
                found[whole[1]] = output.code
    return found


def test_each_of_these_has_a_command_that_shows_it_whole() -> None:
    names = ("existing_celery", "modular_monolith", "online_chat", "user_registration")
    assert {f"examples.{name}" for name in names} <= shown().keys()


@pytest.mark.parametrize("module", shown())
def test_its_last_lines_are_those_of_its_readme(module: str) -> None:
    """Without any setting, as on a laptop: on the embedded Redis."""
    ran = start_python("-m", module)
    assert ran.wait(120) == 0, ran.log
    assert ran.log.endswith(shown()[module])


@pytest.mark.rabbitmq
def test_the_user_registration_on_rabbitmq(amqp_url: str) -> None:
    """With the embedded Redis beside it, where none is given."""
    ran = start_python("-m", "examples.user_registration", env={"EVENTS_BROKER_URL": amqp_url})
    assert ran.wait(120) == 0, ran.log
    assert ran.log.endswith(shown()["examples.user_registration"])


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_it_leaves_nothing_behind(tmp_path: Path, number: signal.Signals, code: int) -> None:
    ran = start_python("-m", "examples.modular_monolith", env={"TMPDIR": str(tmp_path)})
    ran.wait_for_log("^user.created", 60)
    children = psutil.Process(ran.pid).children(recursive=True)
    (folder,) = tmp_path.glob("modular-monolith-*")
    ran.signal(number)
    assert ran.wait() == code, ran.log
    assert children
    assert not any(child.is_running() for child in children)
    assert not folder.exists()
    assert not [process for process in psutil.process_iter(["cmdline"]) if str(folder) in str(process.info["cmdline"])]


@pytest.mark.parametrize("page", READMES, ids=ids)
def test_its_commands_exist(page: Path) -> None:
    for block in markdown.blocks(page):
        if block.language == "sh":
            check(block)


@pytest.mark.parametrize("page", READMES, ids=ids)
def test_its_links_lead_somewhere(page: Path) -> None:
    for text, target in markdown.links(page):
        name, _, anchor = target.partition("#")
        if not target.startswith(("https://", "http://")):
            file = (page.parent / name).resolve() if name else page
            assert file.exists(), f"[{text}]({target}): no such file"
            assert not anchor or anchor in markdown.anchors(file), f"[{text}]({target}): no such heading"
    for image in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page.read_text()):
        assert (page.parent / image).is_file(), image


def check(block: Block) -> None:
    """Each line of the block, one after the other, in the folder to which the lines before it have gone."""
    folder = ROOT
    for line in block.code.splitlines():
        words = shlex.split(line.partition(" | ")[0], comments=True)
        while words and re.match(r"[A-Z_]+=", words[0]):
            check_variable(words.pop(0))
        if not words:
            continue
        command, arguments = words[0], words[1:]
        if command == "cd":
            folder = (folder / arguments[0]).resolve()
            assert folder.is_dir(), line
        elif command in CHECKS:
            CHECKS[command](folder, arguments)
        else:
            assert command in OTHERS, f"{line}: what is {command}?"


def check_export(folder: Path, arguments: list[str]) -> None:
    for word in arguments:
        if "=" in word:  # else a part of $(...)
            check_variable(word)


def check_variable(word: str) -> None:
    name = word.partition("=")[0]
    if name.startswith("EVENTS_"):
        assert name.removeprefix("EVENTS_").lower() in Settings.model_fields, f"there is no {name}"


def check_python(folder: Path, arguments: list[str]) -> None:
    if arguments[0] != "-m":
        assert (folder / arguments[0]).is_file(), arguments[0]
    else:
        assert is_module(folder, arguments[1], run=True), f"no module {arguments[1]} in {folder}"


def check_uvicorn(folder: Path, arguments: list[str]) -> None:
    module, _, name = arguments[0].partition(":")
    source = (folder / f"{module.replace('.', '/')}.py").read_text()
    assert re.search(rf"^{name}\b", source, re.M), f"{module} has no {name}"


def check_honcho(folder: Path, arguments: list[str]) -> None:
    """Its Procfile, and the commands in it."""
    procfile = folder / arguments[arguments.index("-f") + 1]
    for line in procfile.read_text().splitlines():
        if line and not line.startswith("#"):
            check(Block("sh", re.sub(r"\$\{\w+:-(\w+)\}", r"\1", line.partition(": exec ")[2])))


def check_events(folder: Path, arguments: list[str]) -> None:
    command: click.Command = main
    words = list(arguments)
    while isinstance(command, click.Group):
        if isinstance(command, ListingGroup) and (not words or words[0] not in command.commands):
            words = [command.default, *words]
        command = command.commands[words.pop(0)]
    assert is_module(folder, words[words.index("-A") + 1].partition(":")[0])
    if not isinstance(command, PassThrough):
        command.make_context("events", words)  # parsed as typed, and not run


def check_celery(folder: Path, arguments: list[str]) -> None:
    app, command = arguments[arguments.index("-A") + 1], arguments[2]
    assert is_module(folder, app)
    celery.commands[command].make_context(command, arguments[3:], resilient_parsing=True)


def is_module(folder: Path, module: str, *, run: bool = False) -> bool:
    """Whether there is such a module in that folder, or installed. run: that `python -m` can run."""
    path = folder / module.replace(".", "/")
    if path.with_suffix(".py").is_file() or (path / ("__main__.py" if run else "__init__.py")).is_file():
        return True
    return not module.startswith("examples") and importlib.util.find_spec(module.partition(".")[0]) is not None


CHECKS: dict[str, Callable[[Path, list[str]], None]] = {
    "export": check_export,
    "python": check_python,
    "uvicorn": check_uvicorn,
    "honcho": check_honcho,
    "events": check_events,
    "celery": check_celery,
}
