"""`events status`: what waits, and who works."""

from __future__ import annotations

from typing import Any

import click
from kombu.exceptions import OperationalError

from events_core import EventSystem
from events_core.transport.lengths import ready
from events_worker.checks.finding import shown_url
from events_worker.checks.servers import PATIENCE
from events_worker.cli.failing import CommandFailed, reason_of
from events_worker.cli.options import json_option, system_option
from events_worker.cli.output import cell, console, print_json, table
from events_worker.cli.reach import reachable_parts
from events_worker.limits.overview import parked_count, paused_handlers

#: Seconds that workers have for answering.
_ANSWER = 1.0


@click.command()
@system_option
@json_option
def status(system: EventSystem, as_json: bool) -> None:
    """Show how many deliveries wait, are scheduled, parked and dead, which handlers are paused, and who works."""
    parts = reachable_parts(system)
    counts, workers = _ask_broker(system)
    taken = {queue for queues in workers.values() for queue in queues}
    shown: dict[str, Any] = {
        "queues": counts,
        "scheduled": parts.schedule.count(),
        "dead": parts.dead_letters.count(),
        "parked": parked_count(parts.coordination),
        "paused": list(paused_handlers(parts.coordination)),
        "workers": sorted(workers),
        "unconsumed": [queue for queue, ready in counts.items() if ready and queue not in taken],
    }
    if as_json:
        print_json(shown)
    else:
        _print(shown)


def _ask_broker(system: EventSystem) -> tuple[dict[str, int], dict[str, list[str]]]:
    """The number of ready messages by queue, and its workers that answer, each with the queues that it takes from.

    Those of others may answer too: a broker is shared.
    """
    system.open_embedded()
    # Every wait is bounded; the option names are those of kombu's transports, which refuse each other's
    driver = system.celery.connection_for_write().transport.driver_type
    names = ("socket_timeout", "socket_connect_timeout") if driver == "redis" else ("read_timeout", "write_timeout")
    options = dict.fromkeys(names, PATIENCE)
    with system.celery.connection_for_write(connect_timeout=PATIENCE, transport_options=options) as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=2 * PATIENCE)
            counts = {name: ready(connection, name) for name in sorted(system.queues())}
            answers = system.celery.control.inspect(timeout=_ANSWER, connection=connection).active_queues()
        except (OperationalError, *connection.connection_errors, *connection.channel_errors) as error:
            raise CommandFailed(
                f"the broker {shown_url(connection.as_uri())} does not answer: "
                f"{reason_of(error)}. Start it, or correct EVENTS_BROKER_URL"
            ) from error
    workers = {name: [queue["name"] for queue in queues or ()] for name, queues in (answers or {}).items()}
    return counts, {name: queues for name, queues in workers.items() if any(map(counts.__contains__, queues))}


def _print(shown: dict[str, Any]) -> None:
    counts = table("Waiting deliveries", "queue", "ready")
    for name, waiting in shown["queues"].items():
        counts.add_row(cell(name), cell(waiting))
    out = console()
    out.print(counts)
    out.print()
    out.print(f"scheduled: {shown['scheduled']}    dead: {shown['dead']}")
    if shown["parked"]:
        out.print(f"parked: {shown['parked']} (events limits, events groups, events pause say for what)")
    if shown["paused"]:
        out.print(cell(f"paused: {', '.join(shown['paused'])}", "yellow"))
    for queue in shown["unconsumed"] if shown["workers"] else ():
        out.print(cell(f"{queue}: no worker takes from it: start one with -Q {queue}, or without -Q", "yellow"))
    names = shown["workers"]
    out.print(cell(f"workers: {', '.join(names)}" if names else "workers: none answered", "" if names else "yellow"))
