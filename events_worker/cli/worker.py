"""`events worker`: a Celery worker for an EventSystem."""

from __future__ import annotations

import click

from events_core.settings import app_path
from events_worker.find import find_system


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.option("-A", "--app", "app", help="module or module:name of the EventSystem; default EVENTS_APP")
@click.option("-l", "--loglevel", default="INFO", show_default=True)
@click.argument("celery_options", nargs=-1, type=click.UNPROCESSED)
def worker(app: str | None, loglevel: str, celery_options: tuple[str, ...]) -> None:
    """Run a worker. All other options are those of `celery worker`, such as -P threads -c 8 -Q mail."""
    system = find_system(app or app_path())
    system.celery.worker_main(["worker", f"--loglevel={loglevel}", *celery_options])
