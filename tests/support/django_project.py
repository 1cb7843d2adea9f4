"""A small Django project in a folder, for tests that run Django in processes of its own: it is set up once in each."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.commands import run_python
from tests.support.processes import Process, child_env, start_python, start_worker

SETTINGS = """
import os

SECRET_KEY = "of a test"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "site_urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
    "django.contrib.messages", "django.contrib.staticfiles", "events_core.contrib.django", "orders",
]
MIDDLEWARE = [
    "events_core.contrib.django.middleware.correlation",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
    "OPTIONS": {"context_processors": [
        "django.template.context_processors.request",
        "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    ]},
}]
STATIC_URL = "static/"
DATABASES = {
    name: {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{name}.sqlite3", "OPTIONS": {"timeout": 20}}
    for name in ("default", "other")
}
EVENTS = {"NAME": os.environ["TEST_SYSTEM"]}
"""
URLS = """
from django.contrib import admin
from django.urls import path

from events_core.contrib.django.health import health

urlpatterns = [path("admin/", admin.site.urls), path("healthz", health)]
"""
MODELS = """
from django.db import models


class Order(models.Model):
    number = models.IntegerField()
    note = models.CharField(max_length=100, default="")
"""
EVENTS = """
from typing import Annotated

from events_core import DomainEvent
from events_core.secret import Secret


class Placed(DomainEvent, event_type="django.order.placed"):
    number: int


class Confirmed(DomainEvent, event_type="django.order.confirmed"):
    number: int
    token: Annotated[str, Secret] = ""
"""
HANDLERS = """
from events_core.contrib.django import events
from orders.events import Confirmed, Placed
from orders.models import Order


@events.handler(Placed)
def note(event: Placed) -> None:
    Order.objects.filter(number=event.number).update(note="seen")


@events.handler(Confirmed, retry=None)
def fail(event: Confirmed) -> None:
    raise ValueError("the printer is on fire")
"""
#: What the tests' own code begins with.
PRELUDE = """
import os, sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")
import django

django.setup()
from django.core.management import call_command
from django.db import connection, connections, transaction

from events_core.celery_app import celery_broker_url
from events_core.contrib.django import events
from orders.events import Confirmed, Placed
from orders.models import Order
from tests.support import broker_queues


def sent():
    return broker_queues.length(celery_broker_url(events.settings), events.settings.default_queue)


def tables():
    for name in connections:
        call_command("migrate", verbosity=0, database=name, run_syncdb=True)
"""


@dataclass(frozen=True)
class Project:
    """The project in its folder; `site_settings` and the app `orders`."""

    folder: Path
    env: dict[str, str | None] = field(default_factory=dict)

    @classmethod
    def at(cls, folder: Path, broker_url: str, system: str, *, settings: str = "", **files: str) -> Project:
        """Writes it.

        Args:
            folder: an empty one.
            broker_url: of the events.
            system: the system's name.
            settings: more lines of its settings.
            files: `orders_handlers="..."` writes `orders/handlers.py`; likewise any other module.
        """
        orders = folder / "orders"
        orders.mkdir()
        (orders / "__init__.py").touch()
        sources = {"site_settings": SETTINGS + settings, "site_urls": URLS, "orders_models": MODELS}
        sources |= {"orders_events": EVENTS, "orders_handlers": HANDLERS, "prelude": PRELUDE, **files}
        for name, source in sources.items():
            place = orders / name.removeprefix("orders_") if name.startswith("orders_") else folder / name
            place.with_suffix(".py").write_text(source)
        env: dict[str, str | None] = {"DJANGO_SETTINGS_MODULE": "site_settings", "EVENTS_BROKER_URL": broker_url}
        return cls(folder, env | {"TEST_SYSTEM": system})

    def python(self, code: str) -> subprocess.CompletedProcess[str]:
        """Runs code after the prelude, in a process of its own, to its end."""
        return self._run("-c", f"from prelude import *\n{code}")

    def run(self, code: str) -> str:
        """As `python`; it must succeed. What it printed."""
        ran = self.python(code)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def manage(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Runs `manage.py ARGS` to its end."""
        return self._run("-m", "django", *args)

    def _run(self, *args: str) -> subprocess.CompletedProcess[str]:
        return run_python(*args, env=self._whole(), cwd=self.folder)

    def _whole(self) -> dict[str, str]:
        env = child_env(self.env)
        return env | {"PYTHONPATH": f"{self.folder}:{env['PYTHONPATH']}"}

    def start(self, *args: str) -> Process:
        """Starts Python with the arguments."""
        return start_python(*args, env=self.env, cwd=self.folder)

    def worker(self, app: str = "events_core.contrib.django.worker", pool: str = "threads") -> Process:
        """Starts `events worker -A app`, and waits until it is ready."""
        return start_worker(app, pool=pool, concurrency=2, env=self.env, cwd=self.folder)
