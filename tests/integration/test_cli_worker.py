"""`events worker`, and how every command finds the EventSystem."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from events_core import EventSystem
from events_worker.cli.worker import worker
from tests.support.shop import Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop.at(tmp_path, "redis://127.0.0.1:1/0")


@pytest.mark.new_processes  # `events worker` as people run it, which has to import for itself all that it needs
def test_options_of_celery_pass_through_as_they_stand(tmp_path: Path, redis_url: str) -> None:
    shop = Shop.at(tmp_path, redis_url)
    # -Pthreads holds an h and -Qmail an l: neither is ours
    process = shop.start("worker", "-Ashop:events", "-Pthreads", "-c", "3", "-lwarning", "-Qmail", "-n", "two@shop")
    process.wait_for_log(r"concurrency: 3 \(thread")
    process.wait_for_log(r"> mail ")
    assert "> shop.events" not in process.log
    assert "two@shop" in process.log


@pytest.mark.parametrize(
    ("options", "names"),
    [([], ["--hostname=named@%h"]), (["-nother@%h"], []), (["-n", "other@%h"], []), (["--hostname=other"], [])],
)
def test_its_node_is_named_after_the_system(
    options: list[str], names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers of two systems on one machine are told apart, by Flower and by each other."""
    heard: list[list[str]] = []
    monkeypatch.setattr("events_worker.cli.worker._celery", lambda app, arguments: heard.append(arguments))
    system = EventSystem("named", broker_url="redis://127.0.0.1:1/0")
    monkeypatch.setattr("events_worker.cli.options.find_system", lambda path: system)
    CliRunner().invoke(worker, ["-A", "anywhere", *options])
    [arguments] = heard
    assert [argument for argument in arguments if argument.startswith("--hostname=named")] == names


def test_an_option_that_celery_does_not_know_is_said_so(shop: Shop) -> None:
    ran = shop.events("worker", "--no-such-option")
    assert ran.returncode == 2
    assert "No such option '--no-such-option'" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("args", [["-h"], ["worker", "-h"], ["worker", "--help"], ["dead", "-h"], ["flower", "-h"]])
def test_help(shop: Shop, args: list[str]) -> None:
    ran = shop.events(*args)
    assert ran.returncode == 0
    assert ran.stdout.startswith("Usage: ")


@pytest.mark.parametrize(
    "app, source, said",
    [
        ("nowhere", "", "no module 'nowhere'"),
        ("wrong", "raise ValueError('no such colour')", "wrong cannot be imported: ValueError: no such colour"),
        ("wrong", "import missing_part", "No module named 'missing_part'"),
        ("wrong", "def f(:", "SyntaxError"),
        ("wrong", "x = 1", "wrong holds no EventSystem"),
        ("wrong:x", "x = 1", "wrong:x is 1, no EventSystem"),
        ("wrong", "from events_core import EventSystem as E\na, b = E('a'), E('b')", "choose one of wrong:a, wrong:b"),
        (
            "wrong",
            "from events_core import EventSystem as E\ne = E('a', handlers=['nope'])",
            "'nope' cannot be imported",
        ),
        ("wrong", "from events_core import EventSystem as E\ne = E('a')\ne.bind('x.y', lambda e: 1)", "wrong.py:3"),
    ],
)
def test_an_application_that_cannot_be_loaded(shop: Shop, app: str, source: str, said: str) -> None:
    if source:
        (shop.folder / "wrong.py").write_text(source)
    ran = shop.events("check", "-A", app)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("command", ["worker", "map", "status", "flower", "dead list"])
def test_without_an_application(shop: Shop, command: str) -> None:
    ran = shop.events(*command.split(), env={"EVENTS_APP": None})
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: EVENTS_APP is not set")


def test_without_a_broker(shop: Shop) -> None:
    ran = shop.events("worker", env={"EVENTS_BROKER_URL": None})
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: EVENTS_BROKER_URL is not set: set it to 'embedded'")
