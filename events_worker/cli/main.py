"""The command `events`: its subcommands, and how they fail."""

from __future__ import annotations

import sys

import click
import redis

from events_core.errors import EventsError
from events_worker.cli.asyncapi import asyncapi
from events_worker.cli.check import check
from events_worker.cli.dead import dead
from events_worker.cli.failing import say_error
from events_worker.cli.flower import flower
from events_worker.cli.groups import groups
from events_worker.cli.limits import limits
from events_worker.cli.map import event_map
from events_worker.cli.pause import pause, resume
from events_worker.cli.schema import schema
from events_worker.cli.status import status
from events_worker.cli.subscriptions import subscriptions
from events_worker.cli.tail import tail
from events_worker.cli.worker import worker


class _Group(click.Group):
    """Shows our errors as messages, not as tracebacks."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except EventsError as error:
            say_error(str(error))
        except redis.RedisError as error:
            say_error(f"the coordination Redis failed: {error}")
        sys.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="celery-events")
def main() -> None:
    """celery-events: run workers and look after what they do."""


_COMMANDS = (worker, status, check, event_map, dead, limits, groups, pause, resume, flower)
_BETWEEN_SERVICES = (subscriptions, schema, asyncapi, tail)

for command in (*_COMMANDS, *_BETWEEN_SERVICES):
    main.add_command(command)
