"""``python -m examples.django_shop``: the database, the worker and the web server, until Ctrl-C."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from types import FrameType

import django

ADDRESS = os.environ.get("DJANGO_SHOP_ADDRESS", "127.0.0.1:8000")
MANAGE = [sys.executable, "-m", "examples.django_shop.manage"]


def main() -> int:
    """Run the shop; the exit code of what ended first."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "examples.django_shop.settings")
    signal.signal(signal.SIGTERM, _leave)
    prepare()
    worker = subprocess.Popen([*MANAGE, "events", "worker", "-P", "threads", "-c", "4"])
    web = subprocess.Popen([*MANAGE, "runserver", "--noreload", ADDRESS])
    try:
        return web.wait()
    except KeyboardInterrupt:
        return 130
    finally:
        for child in (web, worker):
            child.terminate()
        for child in (web, worker):
            child.wait()


def prepare() -> None:
    """Make the database, and who may use the admin, on the first run."""
    django.setup()
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.core.management import call_command

    settings.DATA.mkdir(parents=True, exist_ok=True)
    call_command("migrate", verbosity=0)
    if not User.objects.filter(username="admin").exists():
        given = os.environ.get("DJANGO_SUPERUSER_PASSWORD")
        password = given or secrets.token_urlsafe(9)
        User.objects.create_superuser("admin", password=password)
        shown = "that of DJANGO_SUPERUSER_PASSWORD" if given else password
        print(f"the admin's user is admin, the password {shown}", flush=True)


def _leave(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
