"""`events flower`: Flower, with a password."""

from __future__ import annotations

import click

from events_core import EventSystem
from events_worker.cli.options import PassThrough, system_option
from events_worker.monitoring.flower import run_flower


@click.command(cls=PassThrough)
@system_option
@click.option("--address", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=5555, show_default=True, help="Port to listen on.")
@click.argument("flower_options", nargs=-1, type=click.UNPROCESSED)
def flower(system: EventSystem, address: str, port: int, flower_options: tuple[str, ...]) -> None:
    """Run Flower, which shows workers and deliveries in the browser.

    Needs EVENTS_FLOWER_PASSWORD; the user is EVENTS_FLOWER_USER (default: events). All other options are Flower's,
    such as --url_prefix=flower.
    """
    run_flower(system, address=address, port=port, options=flower_options)
