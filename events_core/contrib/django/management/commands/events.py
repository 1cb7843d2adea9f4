"""``python manage.py events ...``: the command `events`, with the project's system filled in."""

from __future__ import annotations

import os
import sys
from argparse import REMAINDER
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from events_core.contrib.django.system import WORKER
from events_core.contrib.django.worker_side import run_command

#: Options of every manage.py command that Django has taken already, each with a value.
_DJANGOS = ("--settings", "--pythonpath")


class Command(BaseCommand):
    """Passes everything on, and ends with the exit code of the command."""

    help = "Runs `events`: worker, status, check, dead, limits, ... `manage.py events --help` lists them."
    requires_system_checks = ()

    def run_from_argv(self, argv: list[str]) -> None:
        """From the command line: what the arguments mean is for `events` to say."""
        self._run(f"{os.path.basename(argv[0])} {argv[1]}", without_djangos(argv[2:]))

    def add_arguments(self, parser: CommandParser) -> None:
        """For ``call_command("events", "check", "--deploy")``."""
        parser.add_argument("arguments", nargs=REMAINDER)

    def handle(self, *_: Any, arguments: list[str], **__: Any) -> None:
        """By ``call_command``."""
        self._run("events", arguments)

    def print_help(self, prog_name: str, subcommand: str) -> None:
        """``manage.py help events``."""
        self._run(f"{os.path.basename(prog_name)} {subcommand}", ["--help"])

    def _run(self, name: str, arguments: list[str]) -> None:
        os.environ.setdefault("EVENTS_APP", f"{WORKER}:events")
        sys.stdout.flush()
        run_command(name, arguments)


def without_djangos(arguments: list[str]) -> list[str]:
    """The arguments that are not Django's."""
    rest = iter(arguments)
    kept = []
    for argument in rest:
        if argument in _DJANGOS:
            next(rest, None)
        elif not argument.startswith(tuple(f"{option}=" for option in _DJANGOS)):
            kept.append(argument)
    return kept
