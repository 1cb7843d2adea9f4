"""Options that several commands share."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import click

from events_core import EventSystem
from events_core.errors import EventsError, HandlersNotLoaded
from events_core.settings import app_path
from events_worker.cli.failing import CommandFailed, place_of
from events_worker.find import find_system

Command = Callable[..., Any]


def system_option(command: Command) -> Command:
    """Adds -A/--app, and calls the command with the EventSystem as its argument `system`."""

    @click.option("-A", "--app", "app", metavar="MODULE[:NAME]", help="Where the EventSystem is; default EVENTS_APP.")
    @functools.wraps(command)
    def with_system(app: str | None, **values: Any) -> Any:
        return command(system=load_system(app or app_path()), **values)

    return with_system


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead.")


def load_system(path: str) -> EventSystem:
    """The system at `path`, its handlers loaded. Raises EventsError, which says where in the application it failed."""
    try:
        return find_system(path)
    except HandlersNotLoaded as error:
        raise CommandFailed(f"{error}{place_of(error.__cause__ or error)}") from error
    except EventsError as error:
        raise CommandFailed(f"{error}{place_of(error)}") from error
    except Exception as error:
        module = path.partition(":")[0]
        raise CommandFailed(f"{module} cannot be imported: {type(error).__name__}: {error}{place_of(error)}") from error


class PassThrough(click.Command):
    """A command whose unknown options go on to another program, as they stand and in their order.

    click's own `ignore_unknown_options` reads -Pthreads as -P -t -h -r ..., and shows the help.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take our own options out; all others become the command's argument."""
        own: list[str] = []
        others: list[str] = []
        rest = iter(args)
        for arg in rest:
            taken = self._taken(ctx, arg)
            (own if taken else others).append(arg)
            if taken > 1:
                own.extend([value] if (value := next(rest, None)) is not None else [])
        return super().parse_args(ctx, [*own, "--", *others])

    def _taken(self, ctx: click.Context, arg: str) -> int:
        """How many arguments an option of ours takes up here, itself included; 0: it is none of ours."""
        for option in self.get_params(ctx):
            if not isinstance(option, click.Option):
                continue
            if arg in option.opts:
                return 1 if option.is_flag else 2
            if any(arg.startswith(f"{name}=" if name.startswith("--") else name) for name in option.opts):
                return 0 if option.is_flag else 1
        return 0


def stderr_is_terminal() -> bool:
    """Whether someone watches: progress is shown to people only."""
    return sys.stderr.isatty()
