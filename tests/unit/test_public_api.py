"""What `events_core` exports, and that importing and constructing touch nothing."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import events_core
from events_core import errors
from tests.support.processes import child_env

PROMISED = [
    "BindError",
    "Breaker",
    "BrokerNotConfigured",
    "ConfigurationError",
    "Delivery",
    "DomainEvent",
    "ECSTEvent",
    "Emission",
    "EmitError",
    "Event",
    "EventHandler",
    "EventMap",
    "EventSystem",
    "EventsError",
    "GiveUp",
    "Group",
    "GroupCompleted",
    "IntegrationEvent",
    "Limit",
    "NotificationEvent",
    "Rate",
    "Retry",
    "RetryLater",
    "Secret",
]


def test_the_public_names_are_these_and_no_others() -> None:
    """DESIGN §3: a name added or taken away is a decision, made here too."""
    assert sorted(events_core.__all__) == sorted(PROMISED)
    assert [name for name in dir(events_core) if not name.startswith("_")] == sorted(PROMISED)
    with pytest.raises(AttributeError, match="has no attribute 'Emitter'"):
        _ = events_core.Emitter


@pytest.mark.parametrize(
    "name", ["EventEmitter", "EventProcessor", "Mediator", "RequestMap", "Entity", "AggregateRoot"]
)
def test_parts_are_found_where_people_look_for_them(name: str) -> None:
    """They have modules of their own; the seeds' users import them from the top."""
    assert getattr(events_core, name).__name__ == name


def test_an_emitter_of_an_event_map_is_where_the_design_has_it() -> None:
    from events_core import compat, emitter

    assert emitter.EventEmitter is compat.EventEmitter


def test_importing_the_pytest_plugin_loads_nothing_heavy() -> None:
    """pytest does so in every project of an environment that has the package."""
    code = (
        "import sys, pytest, events_core.testing.plugin\n"
        "assert not {'celery', 'kombu', 'pydantic', 'redis', 'events_worker'} & {*sys.modules}"
    )
    ran = subprocess.run([sys.executable, "-c", code], env=child_env({}), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("name", PROMISED)
def test_each_says_what_it_is(name: str) -> None:
    """A docstring of its own on every public name and on its public methods."""
    thing = getattr(events_core, name)
    assert thing.__dict__.get("__doc__")
    for method, value in vars(thing).items():
        if inspect.isfunction(value) and not method.startswith("_") and value.__module__ == thing.__module__:
            assert value.__doc__, f"{name}.{method}"


def test_all_errors_are_in_one_tree_that_the_docstring_draws() -> None:
    """One class to catch; each says when it is raised."""
    classes = [
        value for value in vars(errors).values() if isinstance(value, type) and value.__module__ == errors.__name__
    ]
    assert len(classes) > 10
    for cls in classes:
        assert issubclass(cls, events_core.EventsError)
        assert cls.__doc__
        assert cls.__name__ in (errors.__doc__ or "")


def test_an_emit_error_counts_what_it_lists() -> None:
    """Promise 1, in the message as in the attributes; it survives being passed between processes as text."""
    one, two, three = (events_core.Delivery("h", str(number), "q") for number in range(3))
    error = events_core.EmitError("broken", confirmed=[one], uncertain=[two], unsent=[three, three])
    assert (error.confirmed, error.uncertain, error.unsent) == ([one], [two], [three, three])
    assert str(error).startswith("broken (1 deliveries confirmed, 1 uncertain, 2 unsent)")
    assert "emit the same event object again" in str(error)


def audited(code: str, cwd: Path) -> dict[str, Any]:
    """Runs `setup`, then reports what the rest touched: files, sockets, threads, log levels."""
    program = textwrap.dedent("""
        import json, logging, sys, threading
        touched, watching = [], True
        def watch(event, args):
            if not watching: return
            if event == "open" and isinstance(args[2], int):
                import os
                writes = args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
                if writes or STRICT: touched.append(f"open {args[0]}")
            elif event.startswith("socket.") and event != "socket.__new__":
                touched.append(event)
            elif event in ("subprocess.Popen", "os.fork", "os.mkdir", "os.posix_spawn", "os.system"):
                touched.append(event)
            elif event == "_thread.start_new_thread":
                touched.append(event)
        STRICT = False
        start = threading.Thread.start
        def started(self):
            if watching: touched.append(f"thread {self.name}")
            start(self)
        threading.Thread.start = started
        logging.getLogger("sqlalchemy").setLevel(logging.ERROR)
        logging.getLogger("celery").setLevel(logging.ERROR)
        def levels():
            loggers = [logging.getLogger(), *map(logging.getLogger, list(logging.root.manager.loggerDict))]
            return {l.name: (l.level, len([h for h in l.handlers if not isinstance(h, logging.NullHandler)]),
                             l.disabled, l.propagate) for l in loggers}
        before = levels()
        sys.addaudithook(watch)
        CODE
        watching = False
        changed = {name: value for name, value in levels().items()
                   if value != before.get(name, (0, 0, False, True))}
        print(json.dumps({"touched": touched, "levels": changed, "threads": threading.active_count(),
                          "modules": [m for m in sys.modules if m.startswith("events_")]}))
    """).replace("CODE", textwrap.dedent(code))
    (cwd / "program.py").write_text(program)
    ran = subprocess.run(
        [sys.executable, "-B", "program.py"], cwd=cwd, env=child_env(), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    told: dict[str, Any] = json.loads(ran.stdout)
    return told


DEFINE = """
from celery import Celery
from celery.signals import before_task_publish
class Happened(DomainEvent, event_type="audit.happened"):
    number: int
class Told(NotificationEvent, event_type="audit.told"): pass
systems = [
    EventSystem("one"),
    EventSystem("two", broker_url="redis://localhost:1", handlers=["nowhere"]),
    EventSystem("three", broker_url="amqp://localhost:1"),
    EventSystem("four", broker_url="embedded"),
    EventSystem("five", celery=app),
]
for system in systems:
    @system.handler(Happened, retry=Retry(max_attempts=2))
    def react(event: Happened) -> None: ...
    @system.handler("audit.*")
    async def areact(event): ...
    @system.handler(Happened)
    class React(EventHandler[Happened]):
        def handle(self, event): ...
Happened(number=1)
for system in systems[:3]:
    repr(system), system.queues(), system.settings
"""


def test_importing_touches_nothing(tmp_path: Path) -> None:
    """Hole 17: no network, no file written, no thread, no logger level or handler; and no worker is loaded."""
    told = audited("import events_core", tmp_path)
    assert told["touched"] == []
    assert told["levels"] == {}
    assert told["threads"] == 1
    assert not [name for name in told["modules"] if name.startswith("events_worker")]


def test_defining_and_constructing_touch_nothing(tmp_path: Path) -> None:
    """DESIGN §2: events, handlers, systems of every broker, an app's own Celery: not even a file is read."""
    code = "watching = False\nfrom events_core import *\nfrom celery import Celery\nfrom celery.signals import *\n"
    code += "app = Celery('own', set_as_current=False)\napp.config_from_object('no_such_module')\n"
    code += "STRICT = watching = True\n" + DEFINE
    told = audited(code + "assert not app.configured\n", tmp_path)
    assert told["touched"] == []
    assert told["levels"] == {}
    assert told["threads"] == 1
    assert not [path.name for path in tmp_path.iterdir() if path.name != "program.py"]


def test_the_audit_itself_notices(tmp_path: Path) -> None:
    """The two tests above can fail: each kind of touch is seen."""
    program = "import socket, threading\nSTRICT = True\nopen('program.py').close()\nsocket.socket().connect_ex("
    program += "('127.0.0.1', 9))\nt = threading.Thread(target=int, name='noticed')\nt.start(); t.join()\n"
    told = audited(program + "logging.getLogger('sqlalchemy').setLevel(logging.INFO)", tmp_path)
    assert {"open program.py", "socket.connect", "thread noticed"} <= set(told["touched"])
    assert "sqlalchemy" in told["levels"]


def run_program(code: str, cwd: Path) -> str:
    """What a program prints; it is given a minute, for a deadlock would take for ever."""
    (cwd / "program.py").write_text(textwrap.dedent(code))
    ran = subprocess.run(
        [sys.executable, "program.py"],
        cwd=cwd,
        env=child_env(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_loading_handlers_and_importing_them_elsewhere_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """A thread imports a module of handlers, which uses the system, while another's first emit imports it too."""
    (tmp_path / "shop_events.py").write_text(
        "import threading\n"
        "from events_core import EventSystem\n"
        "events = EventSystem('shop', broker_url='redis://127.0.0.1:1', handlers=['shop_handlers'])\n"
        "importing, loading = threading.Event(), threading.Event()\n"
    )
    (tmp_path / "shop_handlers.py").write_text(
        "from shop_events import events, importing, loading\n"
        "importing.set()\n"
        "assert loading.wait(30)\n"
        "events.load()\n"
        "events.celery\n"
        "events.publisher\n"
    )
    program = """
        import importlib, threading, time, sys
        from shop_events import events, importing, loading
        one = threading.Thread(target=importlib.import_module, args=["shop_handlers"], daemon=True)
        one.start()
        assert importing.wait(30)
        two = threading.Thread(target=events.load, daemon=True)
        two.start()
        while not any(f.f_code.co_filename.startswith("<frozen importlib") for f in frames(two)):
            time.sleep(0.01)
        loading.set()
        one.join(30), two.join(30)
        print("waiting" if one.is_alive() or two.is_alive() else "loaded", flush=True)
    """
    frames = """
        import sys
        def frames(thread):
            frame = sys._current_frames().get(thread.ident)
            while frame is not None:
                yield frame
                frame = frame.f_back
    """
    assert run_program(textwrap.dedent(frames) + textwrap.dedent(program), tmp_path) == "loaded\n"


@pytest.mark.parametrize(
    "lock, used",
    [
        ("events._lock", "events.celery"),
        ("events.event_map._lock", "events.bind(Happened, print, name='again')"),
        ("parts._lock", "parts.parts_of(events)"),
    ],
)
def test_a_lock_that_is_held_at_a_fork_does_not_hold_up_the_child(lock: str, used: str, tmp_path: Path) -> None:
    """gunicorn preload, multiprocessing: a thread of the parent is at work, and does not exist in the child."""
    program = f"""
        import os, signal, threading
        from events_core import DomainEvent, EventSystem
        from events_worker import parts
        class Happened(DomainEvent, event_type="forked"): pass
        events = EventSystem("shop", broker_url="redis://127.0.0.1:1")
        held, done = threading.Event(), threading.Event()
        def hold():
            with {lock}:
                held.set()
                done.wait()
        threading.Thread(target=hold, daemon=True).start()
        held.wait()
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            {used}
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        done.set()
    """
    assert run_program(program, tmp_path) == "0\n"
