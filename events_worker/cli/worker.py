"""`events worker`: a Celery worker for an EventSystem."""

from __future__ import annotations

import click

from events_core import EventSystem
from events_worker.cli.options import PassThrough, system_option


@click.command(cls=PassThrough)
@system_option
@click.option("-l", "--loglevel", default="INFO", show_default=True, help="DEBUG, INFO, WARNING, ERROR or CRITICAL.")
@click.argument("celery_options", nargs=-1, type=click.UNPROCESSED)
def worker(system: EventSystem, loglevel: str, celery_options: tuple[str, ...]) -> None:
    """Run a worker. All other options are those of `celery worker`, such as -P threads -c 8 -Q mail."""
    system.celery.worker_main(["worker", f"--loglevel={loglevel}", *celery_options])
