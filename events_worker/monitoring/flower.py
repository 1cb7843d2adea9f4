"""Flower for the Celery app of an EventSystem: behind a password, with its history kept.

Flower: https://flower.readthedocs.io
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from events_core import ConfigurationError, EventSystem

#: Milliseconds between two saves of the history, so that SIGKILL costs no more than that.
_SAVE_EVERY = 30_000
_COLUMNS = "name,args,state,received,runtime,retries,worker,uuid"


def run_flower(system: EventSystem, *, address: str, port: int, options: Sequence[str] = ()) -> None:
    """Run Flower until it is told to end.

    address, port: where it listens. options: further ones of Flower, such as ``--url_prefix=flower``.

    Raises ConfigurationError when no password is set, Flower is not installed, or an option is none of its.
    """
    password = _password(system)
    settings = _flower_options(options)
    app = system.celery
    system.open_embedded()
    # In the process, not as arguments: those are shown to everyone on the machine. And a FLOWER_BASIC_AUTH left over
    # from elsewhere would take its place.
    os.environ.pop("FLOWER_BASIC_AUTH", None)
    settings.basic_auth = [f"{system.settings.flower_user}:{password}"]
    settings.tasks_columns = _COLUMNS
    settings.persistent = True
    settings.state_save_interval = _SAVE_EVERY
    settings.db = str(_database(system.settings.data_dir))
    app.start(["flower", f"--address={address}", f"--port={port}", *options])


def _password(system: EventSystem) -> str:
    settings = system.settings
    if not settings.flower_password:
        raise ConfigurationError(
            "EVENTS_FLOWER_PASSWORD is not set, and Flower would show everything to anyone: set one, for example with "
            f"export EVENTS_FLOWER_PASSWORD=$(openssl rand -hex 16); the user is {settings.flower_user!r} "
            "(EVENTS_FLOWER_USER)"
        )
    if ":" in settings.flower_user:
        raise ConfigurationError(f"EVENTS_FLOWER_USER={settings.flower_user!r}: a user's name must have no colon")
    return settings.flower_password


def _flower_options(given: Sequence[str]) -> Any:
    try:
        options = importlib.import_module("flower.options").options
    except ModuleNotFoundError as error:
        raise ConfigurationError("Flower is not installed: pip install 'celery-events[flower]'") from error
    for option in given:
        name = option.lstrip("-").partition("=")[0].replace("-", "_")
        # Flower itself passes over what it does not know, and over a value that stands by itself
        if not option.startswith("--") or name not in options:
            raise ConfigurationError(f"{option} is no option of Flower: give them as --name=value")
    return options


def _database(folder: Path) -> Path:
    """Where the history is kept, for this user alone."""
    os.umask(0o077)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / "flower.db"
