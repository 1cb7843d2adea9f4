"""One Celery task per handler, whichever way the worker is started."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.apps import basics, existing
from tests.apps.harness import Rig, rig
from tests.support import processes
from tests.support.processes import Process

HERE = "tests.apps.basics"

# The command `celery` as users start it: that it finds us, which imports events_core, is what is tested.
pytestmark = pytest.mark.new_processes


@pytest.fixture(scope="module")
def system(redis_server: Any, rabbitmq_server: Any) -> Iterator[Rig]:
    with rig(basics, "rabbitmq", redis_server, rabbitmq_server) as made:
        yield made


@pytest.fixture(scope="module")
def worker(system: Rig) -> Process:
    """`celery -A events_worker worker` with EVENTS_APP, as the README says, and no -Q."""
    return celery_worker("events_worker", system.environment())


def celery_worker(app: str, env: dict[str, str | None]) -> Process:
    args = ("-m", "celery", "-A", app, "worker", "-P", "threads", "-c", "4", "--without-gossip", "--without-mingle")
    worker = processes.start_python(*args, "-l", "INFO", "-n", f"{app}@%h", env=env)
    worker.wait_for_log(processes.READY)
    return worker


def run_python(code: str, env: dict[str, str | None]) -> str:
    """What a process of its own prints that runs `code`."""
    command = [sys.executable, "-c", code]
    whole = processes.child_env(env)
    ran = subprocess.run(command, env=whole, cwd=processes.ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_plain_celery_command_runs_the_system_of_events_app(system: Rig, worker: Process) -> None:
    """`celery -A events_worker worker` consumes every queue of the handlers, the default and the named one."""
    emission = system.emit(basics.Happened(tag="plain"))
    assert {d.queue for d in emission.deliveries} == {system.queue, "basics.mail"}
    done = system.wait_for_records("plain", 3)
    assert sorted(line["what"] for line in done) == ["ClassOne", "async_one", "sync_one"]


def test_inspect_registered_lists_one_task_for_each_handler_and_alias(system: Rig, worker: Process) -> None:
    """What operators and Flower see: each handler under its own name; renamed ones under their old names too."""
    listed = json.loads(system.control("inspect", "registered", "--json").splitlines()[0])
    ours = {name for name in next(iter(listed.values())) if name.startswith((HERE, "old"))}
    functions = ("sync_one", "async_one", "ClassOne", "renamed", "together", "slow_async", "slow_sync")
    assert ours == {f"{HERE}.{name}" for name in (*functions, "waits_for_the_test")} | {
        "old.module.handler",
        "older.handler",
    }


def test_tasks_carry_queue_and_hard_limit_of_their_handlers() -> None:
    """Celery's own tools see a handler's queue; handlers with a timeout have a hard limit, above it."""
    code = (
        f"from {HERE} import events; import json\n"
        "events.celery.loader.import_default_modules(); t = events.celery.tasks\n"
        f"print(json.dumps({{n: [t[n].queue, t[n].time_limit] for n in t if n.startswith('{HERE}')}}))"
    )
    printed = run_python(code, {"EVENTS_BROKER_URL": "redis://localhost:1/0", "TEST_SYSTEM": "shop"})
    tasks = {name.removeprefix(f"{HERE}."): value for name, value in json.loads(printed).items()}
    assert tasks["async_one"] == ["basics.mail", None]
    assert tasks["slow_async"] == ["shop.events", pytest.approx(31.0)]
    assert tasks["slow_sync"] == ["shop.events", pytest.approx(31.0)]


def test_a_delivery_under_an_alias_reaches_the_renamed_handler(system: Rig, worker: Process) -> None:
    """Deliveries that were emitted before a rename are not lost."""
    event = basics.Late(tag="alias")
    (message,) = system.messages_of(event)
    message.headers["task"] = "old.module.handler"
    system.system.emitter.publish([message])
    system.wait_for_records("alias", 1, "renamed")


# --- an existing Celery app


@pytest.fixture(scope="module")
def project(redis_server: Any, rabbitmq_server: Any) -> Iterator[Rig]:
    with rig(existing, "rabbitmq", redis_server, rabbitmq_server) as made:
        made.env = {"TEST_BROKER": made.broker_url, "EVENTS_BROKER_URL": None}
        yield made


@pytest.fixture(scope="module")
def project_worker(project: Rig) -> Process:
    """The project's own worker, started as it always was."""
    return celery_worker("tests.apps.existing:app", project.environment())


def test_an_existing_app_consumes_our_queues_beside_its_own(project: Rig, project_worker: Process) -> None:
    """`celery -A proj worker` without -Q: the handler's queue, our default one, and the project's own tasks."""
    project.emit(existing.Signed(tag="both", order_id=7))
    (letter,) = project.wait_for_records("both", 1, "letter")
    assert letter["order_id"] == 7
    existing.app.conf.broker_url = project.broker_url
    existing.plain.apply_async(("own",))
    project.wait_for_records("own", 1, "plain")


def test_a_celery_task_bound_as_handler_gets_what_args_made(project: Rig, project_worker: Process) -> None:
    """task= sends the event to the task that exists, on the queue it always had, with its own arguments."""
    emission = project.emit(existing.Signed(tag="task", order_id=8))
    queues = {d.handler: d.queue for d in emission.deliveries}
    assert queues == {"tests.apps.existing.letter": "existing.letters", "project.invoice": "project.old"}
    (invoice,) = project.wait_for_records("task", 1, "invoice")
    assert invoice["order_id"] == 8


def test_no_setting_of_an_existing_app_is_changed(project: Rig, project_worker: Process) -> None:
    """The worker's app.conf is what it would be without celery-events."""
    (line,) = project.wait_for_records("settings", 1)
    code = (
        "import json; from celery import Celery; import events_core\n"
        "class Without:\n"
        "    def __init__(self, *a, **k): pass\n"
        "    def handler(self, *a, **k): return lambda f: f\n"
        "events_core.EventSystem = Without\n"
        "from tests.apps import existing\n"
        "print(json.dumps(existing.settings(), sort_keys=True))"
    )
    with_us, without = json.loads(line["values"]), json.loads(run_python(code, project.environment()))
    assert len(without) > 100
    assert {key: (without.get(key), with_us.get(key)) for key in without | with_us} == {
        key: (value, value) for key, value in without.items()
    }
