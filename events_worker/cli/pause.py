"""`events pause` and `events resume`: deliveries to a handler wait, and none is lost."""

from __future__ import annotations

import click

from events_core import EventSystem
from events_worker.cli.failing import CommandFailed
from events_worker.cli.near import known_names
from events_worker.cli.options import json_option, system_option
from events_worker.cli.output import cell, console, print_json, table
from events_worker.cli.reach import reachable_parts
from events_worker.limits import steering
from events_worker.limits.overview import paused_handlers


@click.command()
@system_option
@click.argument("handler", required=False)
@json_option
def pause(system: EventSystem, handler: str | None, as_json: bool) -> None:
    """Let the deliveries to HANDLER wait until `events resume`. Without HANDLER: show what is paused.

    What runs comes to its end. Workers know within a second; what waits holds no place in them or in the broker.
    """
    parts = reachable_parts(system)
    if handler is not None:
        name = _name_of(system, handler, {})
        steering.pause(parts.turns.admission, name)
        said = f"{name} is paused: its deliveries wait until `events resume {name}`"
    paused = paused_handlers(parts.coordination)
    if as_json:
        print_json([{"handler": name, "waiting": waiting} for name, waiting in paused.items()])
    elif handler is not None:
        click.echo(said)
    elif not paused:
        click.echo("no handler is paused")
    else:
        shown = table("Paused handlers", "handler", "waiting", whole=("handler",))
        for name, waiting in paused.items():
            shown.add_row(cell(name), cell(waiting))
        console().print(shown)


@click.command()
@system_option
@click.argument("handler")
@json_option
def resume(system: EventSystem, handler: str, as_json: bool) -> None:
    """Let the deliveries to HANDLER go on, in their order."""
    parts = reachable_parts(system)
    paused = paused_handlers(parts.coordination)
    name = _name_of(system, handler, paused)
    if name in paused:
        steering.resume(parts.turns.admission, name)
    if as_json:
        print_json({"handler": name, "resumed": name in paused, "waited": paused.get(name, 0)})
    elif name in paused:
        click.echo(f"{name} goes on; {paused[name]} deliveries waited for it")
    else:
        click.echo(f"{name} was not paused: nothing to do")


def _name_of(system: EventSystem, handler: str, paused: dict[str, int]) -> str:
    """The handler's own name. paused: may be named too, for code that has them no more."""
    spec = system.event_map.find(handler)
    if spec is not None and spec.kind != "task":
        return spec.name
    if handler in paused:
        return handler
    if spec is not None:
        raise CommandFailed(
            f"{handler} is a Celery task of the application's own: its worker knows no pause. Stop consuming its queue "
            "instead (celery control cancel_consumer)"
        )
    handlers = [spec.name for spec in system.event_map.handlers if spec.kind != "task"]
    raise CommandFailed(f"{handler!r} is no handler of {system.name!r}: {known_names(handler, handlers, 'handlers')}")
