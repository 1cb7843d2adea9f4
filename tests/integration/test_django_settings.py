"""The setting EVENTS, `manage.py check`, `manage.py events`, and handlers that are found by themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.django_project import Project

pytestmark = pytest.mark.apps


@pytest.fixture
def project(tmp_path: Path, redis_url: str, system_name: str) -> Project:
    return Project.at(tmp_path, redis_url, system_name)


def test_the_system_is_made_of_the_settings(tmp_path: Path, redis_url: str, system_name: str) -> None:
    """Environment variables stand in for what EVENTS does not say."""
    settings = """
from events_core.brokers import InMemoryBroker

class Container:
    def resolve(self, wanted): return wanted()

EVENTS |= {
    "EMIT_TIMEOUT": 7, "CONTAINER": Container(), "MESSAGE_BROKER": "site_settings.broker", "HANDLERS": ["reactions"]
}
broker = InMemoryBroker()
"""
    reactions = """
from events_core.contrib.django import events
from orders.events import Placed

@events.handler(Placed)
def react(event: Placed) -> None: ...
"""
    project = Project.at(tmp_path, redis_url, system_name, settings=settings, reactions=reactions)
    project.run(f"""
import site_settings
from events_core.contrib import django as ours

assert ours.events is events
assert events.name == {system_name!r}
assert events.settings.broker_url == {redis_url!r}
assert events.settings.emit_timeout == 7
assert type(events.container).__name__ == "Container"
assert events.message_broker is site_settings.broker
events.load()
assert [spec.name for spec in events.event_map.route(Placed)] == ["orders.handlers.note", "reactions.react"]
""")


def test_a_system_that_the_project_makes_itself(tmp_path: Path, redis_url: str, system_name: str) -> None:
    """Its handlers are found likewise, and it waits for transactions likewise."""
    own = f"from events_core import EventSystem\n\nevents = EventSystem({system_name!r})\n"
    settings = "EVENTS = {'SYSTEM': 'own_system.events'}"
    Project.at(tmp_path, redis_url, system_name, settings=settings, own_system=own).run("""
import own_system

assert events is own_system.events
assert [spec.name for spec in events.event_map.route(Placed)] == ["orders.handlers.note"]
with transaction.atomic():
    own_system.events.emit(Placed(number=1))
    assert sent() == 0
assert sent() == 1
""")


def test_the_handlers_of_every_app_are_found_in_the_web_process(project: Project) -> None:
    project.run("""
assert [spec.name for spec in events.event_map.handlers] == ["orders.handlers.note", "orders.handlers.fail"]
""")


def test_handlers_that_cannot_be_imported_stop_django(tmp_path: Path, redis_url: str, system_name: str) -> None:
    project = Project.at(tmp_path, redis_url, system_name, orders_handlers="import no_such_module")
    ran = project.manage("check")
    assert ran.returncode != 0
    assert "No module named 'no_such_module'" in ran.stderr


def test_models_may_import_the_system(tmp_path: Path, redis_url: str, system_name: str) -> None:
    models = """
from django.db import models, transaction
from events_core.contrib.django import events
from orders.events import Placed

class Order(models.Model):
    number = models.IntegerField()
    note = models.CharField(max_length=100, default="")

    def place(self):
        events.emit(Placed(number=self.number))
"""
    Project.at(tmp_path, redis_url, system_name, orders_models=models).run("""
Order(number=1).place()
assert sent() == 1
""")


MISTAKES = [
    ({"NAME": "shop", "BROKER": "redis://x"}, "has the key 'BROKER', which there is not: did you mean 'BROKER_URL'?"),
    ({"NAME": "shop", "emit_timeout": 3}, "the key 'emit_timeout', which there is not: did you mean 'EMIT_TIMEOUT'?"),
    (None, "the setting EVENTS is missing: write EVENTS = {'NAME': 'shop'}"),
    ("shop", "the setting EVENTS is a str, not a dict"),
    ({}, "EVENTS has no 'NAME'"),
    ({"NAME": 3}, "EVENTS['NAME'] is 3, not a text such as 'shop'"),
    ({"NAME": "no name"}, "the system's name 'no name'"),
    ({"NAME": "shop", "EMIT_TIMEOUT": "soon"}, "EMIT_TIMEOUT"),
    ({"NAME": "shop", "DATABASE": "defualt"}, "is no alias in DATABASES: did you mean 'default'?"),
    ({"NAME": "shop", "CELERY": "nowhere.app"}, "EVENTS['CELERY'] = 'nowhere.app' cannot be imported"),
    ({"NAME": "shop", "HANDLERS": "reactions"}, "EVENTS['HANDLERS'] is 'reactions', not a list of dotted paths"),
    ({"NAME": "shop", "MIDDLEWARE": ["nowhere.timing"]}, "EVENTS['MIDDLEWARE'] = 'nowhere.timing' cannot be imported"),
    ({"NAME": "shop", "SYSTEM": "own.events"}, "give it NAME where you make it"),
    ({"SYSTEM": "os.path"}, "is a module, no EventSystem"),
    ({"SYSTEM": "nowhere.events"}, "EVENTS['SYSTEM'] = 'nowhere.events' cannot be imported"),
]


def test_each_mistake_in_the_settings_is_named(tmp_path: Path, redis_url: str, system_name: str) -> None:
    """By `manage.py check`, without a traceback; the rest of them by its check alone, in one process."""
    project = Project.at(tmp_path, redis_url, system_name, settings="EVENTS = {'NAME': 'shop', 'BROKER': 'redis://x'}")
    ran = project.manage("check")
    assert ran.returncode == 1
    assert "(celery_events.E001)" in ran.stderr
    assert MISTAKES[0][1] in ran.stderr
    assert "Traceback" not in ran.stderr
    code = f"""
import django
from django.conf import settings
django.setup()
from events_core.contrib.django.checks import check_settings
for given, said in {MISTAKES!r}:
    settings.EVENTS = given
    [error] = check_settings(None)
    assert said in error.msg, (said, error.msg)
"""
    (tmp_path / "mistakes.py").write_text(code)
    ran = project.start("mistakes.py")
    assert ran.wait() == 0, ran.log


def test_whoever_asks_for_the_system_is_told_too(tmp_path: Path, redis_url: str, system_name: str) -> None:
    ran = Project.at(tmp_path, redis_url, system_name, settings="EVENTS = {}").python("")
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].startswith("django.core.exceptions.ImproperlyConfigured: EVENTS has no 'NAME'")


def test_the_check_before_a_deploy_looks_at_handlers_too(tmp_path: Path, redis_url: str, system_name: str) -> None:
    """Without a network: `manage.py events check` asks the servers."""
    project = Project.at(tmp_path, "redis://127.0.0.1:1", system_name, orders_handlers="")
    assert "celery_events" not in project.manage("check").stderr
    ran = project.manage("check", "--deploy")
    assert "(celery_events.W001)" in ran.stderr
    assert "no handler is bound" in ran.stderr


def test_the_command_passes_everything_on(project: Project) -> None:
    ran = project.manage("events", "check", "--json", "--settings", "site_settings")
    assert ran.returncode == 0, ran.stderr
    names = {handler["name"] for handler in json.loads(ran.stdout)["handlers"]}
    assert names == {"orders.handlers.note", "orders.handlers.fail"}
    ran = project.manage("events", "dead", "discard")
    assert ran.returncode == 2
    assert "--all" in ran.stderr
    for asked in (("events", "--help"), ("help", "events")):
        shown = project.manage(*asked).stdout
        assert "events [OPTIONS] COMMAND" in shown
        assert "worker" in shown


def test_the_command_can_be_called_from_code(project: Project) -> None:
    shown = project.run("""
try:
    call_command("events", "map")
except SystemExit as error:
    assert not error.code
""")
    assert "orders.handlers.note" in shown


def test_what_has_no_table_is_in_nobodys_way(project: Project) -> None:
    """Neither a migration nor a dump needs one, and the permissions are there."""
    project.run("""
tables()
from django.contrib.auth.models import Permission

named = Permission.objects.filter(content_type__app_label="celery_events").values_list("codename", flat=True)
assert set(named) == {"view_deadletter", "redrive_deadletter", "discard_deadletter", "view_payload"}, list(named)
call_command("makemigrations", check=True, dry_run=True, verbosity=0)
""")
    for dump in ("dumpdata", "dumpdata --all"):
        ran = project.manage(*dump.split())
        assert ran.returncode == 0, ran.stderr
