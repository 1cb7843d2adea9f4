"""`events worker`: a Celery worker for an EventSystem."""

from __future__ import annotations

import sys

import click
from celery import Celery
from celery.bin.celery import celery

from events_core import EventSystem
from events_core.celery_app import celery_broker_url
from events_worker.cli.options import PassThrough, system_option


@click.command(cls=PassThrough)
@system_option
@click.option("-l", "--loglevel", default="INFO", show_default=True, help="DEBUG, INFO, WARNING, ERROR or CRITICAL.")
@click.argument("celery_options", nargs=-1, type=click.UNPROCESSED)
def worker(system: EventSystem, loglevel: str, celery_options: tuple[str, ...]) -> None:
    """Run a worker. All other options are those of `celery worker`, such as -P threads -c 8 -Q mail.

    Its node name is SYSTEM@HOST, unless -n gives another: two of one system on one machine need names of their own.
    """
    # Named, because Celery would take a BROKER_URL of the environment over the system's broker.
    broker = ["--broker", celery_broker_url(system.settings)] if system.owns_celery else []
    # Named, because workers of two systems on one machine and broker would both be celery@machine.
    named = any(option.startswith(("-n", "--hostname")) for option in celery_options)
    node = [] if named else [f"--hostname={system.name}@%h"]
    sys.exit(_celery(system.celery, [*broker, "worker", f"--loglevel={loglevel}", *node, *celery_options]))


def _celery(app: Celery, arguments: list[str]) -> int | None:
    """As `Celery.worker_main`, which drops the exit code, so that a worker that failed would seem to have done well."""
    celery.params[0].default = app
    return celery.main(args=arguments, standalone_mode=False)  # type: ignore[no-any-return]
