"""`events asyncapi`: the integration events as a document that other tools read."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import click

from events_core import BrokerNotConfigured, EventSystem
from events_core.describing import asyncapi as described
from events_core.describing import files
from events_worker.cli.described import integration_events
from events_worker.cli.failing import CommandFailed
from events_worker.cli.options import system_option
from events_worker.cli.output import print_json

_UNKNOWN = "0.0.0"


@click.command()
@system_option
@click.option("--app-version", metavar="TEXT", help="The application's version; default that of its distribution.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write it to a file.")
def asyncapi(system: EventSystem, app_version: str | None, output: Path | None) -> None:
    """Print an AsyncAPI 3.0 document of the integration events that are sent and received."""
    if system.message_broker is None:
        raise BrokerNotConfigured(
            f"{system.name!r} has no message broker, so nothing is sent or received: EventSystem(..., "
            "message_broker=ExchangeBroker(...))"
        )
    document = described(
        system.name,
        app_version or _version_of(system.module),
        system.message_broker,
        integration_events(),
        system.event_map.subscribers,
    )
    if output is None:
        print_json(document)
        return
    try:
        output.write_text(files.text_of(document), encoding="utf-8")
    except OSError as error:
        raise CommandFailed(f"{output} cannot be written: {error}") from error
    click.echo(f"written to {output}")


def _version_of(module: str) -> str:
    """That of the distribution which the module is part of."""
    names = metadata.packages_distributions().get(module.partition(".")[0], ())
    return metadata.version(names[0]) if names else _UNKNOWN
