"""Where the demo keeps its files: `.demo` in the working directory, made anew each time."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from events_core.embedded import is_running, open_embedded
from examples.shop_demo.failing import DemoFailed

APP = "examples.shop.system"
FOLDER = Path(".demo")
DATA = FOLDER / "redis"
JOURNAL = FOLDER / "journal.sqlite3"


@contextmanager
def fresh_folder() -> Iterator[None]:
    """The folder, empty and ours alone within the block. What is in it stays: the dead letter can still be seen.

    Raises DemoFailed when another demo is at work in it.
    """
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoFailed(f"another demo runs in {FOLDER.absolute()}: end it first") from None
        _empty()
        yield


def _empty() -> None:
    if is_running(DATA):
        open_embedded(DATA).close()  # left by a demo that was killed: the last to leave stops it
    if is_running(DATA):
        raise DemoFailed(
            f"the embedded Redis in {DATA.absolute()} is in use: end its users (`fuser {DATA}/users.lock`)"
        )
    for path in FOLDER.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()
    (FOLDER / ".gitignore").write_text("*\n")


def use_embedded() -> None:
    """Set the environment, for this process and those it starts: the embedded Redis of the folder, nothing else.

    EVENTS_* variables from outside are dropped, lest the demo's orders go to somebody's real broker.
    """
    for name in [name for name in os.environ if name.startswith("EVENTS_")]:
        del os.environ[name]
    os.environ |= {
        "EVENTS_BROKER_URL": "embedded",
        "EVENTS_DATA_DIR": str(DATA.absolute()),
        "SHOP_JOURNAL": str(JOURNAL.absolute()),
    }


def dead_command() -> str:
    """The command that shows the dead letter, to be pasted here."""
    python = Path(sys.executable)
    script = python.with_name("events")
    words = [_short(script)] if script.exists() else [_short(python), "-m", "events_worker.cli"]
    settings = f"EVENTS_BROKER_URL=embedded EVENTS_DATA_DIR={shlex.quote(str(DATA))}"
    return f"{settings} {shlex.join([*words, 'dead', 'list', '-A', APP])}"


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
