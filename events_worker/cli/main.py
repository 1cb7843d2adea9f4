"""The command `events`: its subcommands, and how they find the EventSystem."""

from __future__ import annotations

import sys

import click

from events_core.errors import EventsError
from events_worker.cli.worker import worker


class _Group(click.Group):
    """Shows our errors as messages, not as tracebacks."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except EventsError as error:
            click.secho(f"error: {error}", fg="red", err=True)
            sys.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="celery-events")
def main() -> None:
    """celery-events: run workers and look after what they do."""


main.add_command(worker)
