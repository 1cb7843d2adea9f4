"""`events subscriptions`: what this application hears from other services, and what became of it."""

from __future__ import annotations

from typing import Any

import click

from events_core import EventSystem
from events_core.coordination import Coordination
from events_core.subscribers import SubscribedQueue, subscribed_queues
from events_worker.cli.failing import CommandFailed, reason_of
from events_worker.cli.options import json_option, system_option
from events_worker.cli.output import cell, console, print_json, table
from events_worker.cli.reach import reachable_parts
from events_worker.subscriptions.left_behind import delete_queue, left_behind
from events_worker.subscriptions.tally import COUNTED, consumers_of, counts_of


@click.command()
@system_option
@click.option("--delete", metavar="QUEUE", help="Delete a queue that no subscriber names, with what waits in it.")
@json_option
def subscriptions(system: EventSystem, delete: str | None, as_json: bool) -> None:
    """Show the queues on the message broker, who listens to them, and what became of their messages.

    A queue that workers have declared once and that no subscriber names any more is shown too: it stays bound, and
    fills up, until you delete it.
    """
    coordination = reachable_parts(system).coordination
    if delete is not None:
        _delete(system, coordination, delete)
    shown = [_shown(coordination, queue) for queue in subscribed_queues(system.event_map.subscribers)]
    left = left_behind(system, coordination)
    if as_json:
        print_json({"subscriptions": shown, "left_behind": left})
    else:
        _print(system, shown, left)


def _delete(system: EventSystem, coordination: Coordination, queue: str) -> None:
    try:
        delete_queue(system, coordination, queue)
    except OSError as error:
        raise CommandFailed(f"the message broker does not answer: {reason_of(error)}") from error


def _shown(coordination: Coordination, queue: SubscribedQueue) -> dict[str, Any]:
    return {
        "queue": queue.name,
        "topics": sorted({topic for topic, _ in queue.bindings}),
        "events": sorted(queue.wanted),
        "handlers": [subscriber.spec.name for subscriber in queue.subscribers],
        "consumers": consumers_of(coordination, queue.name),
        "counts": counts_of(coordination, queue.name),
    }


def _print(system: EventSystem, shown: list[dict[str, Any]], left: list[str]) -> None:
    out = console()
    if not shown:
        out.print(cell(f"{system.name} has no subscribers: @events.subscriber(...) binds one"))
    else:
        queues = table("Subscriptions", "queue", "topics", "events", "handlers", "listening", whole=("queue",))
        for row in shown:
            lists = ("\n".join(row[name]) for name in ("topics", "events", "handlers"))
            queues.add_row(cell(row["queue"]), *map(cell, lists), cell("\n".join(row["consumers"]) or "nobody"))
        counts = table("Messages", "queue", *COUNTED, whole=("queue",))
        for row in shown:
            counts.add_row(cell(row["queue"]), *(cell(row["counts"][what]) for what in COUNTED))
        out.print(queues)
        out.print()
        out.print(counts)
    for name in left:
        text = f"{name}: no subscriber names it any more; it fills up, until you delete it (--delete)"
        out.print(cell(text, "yellow"))
