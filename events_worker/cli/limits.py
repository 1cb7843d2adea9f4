"""`events limits`: who holds places, who waits, and how many there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import click

from events_core import EventSystem
from events_core.gate_definitions import definitions
from events_worker.cli.failing import CommandFailed
from events_worker.cli.limit_tables import print_limits
from events_worker.cli.listing import ListingGroup
from events_worker.cli.near import known_names
from events_worker.cli.options import json_option, system_option
from events_worker.cli.output import print_json
from events_worker.cli.reach import reachable_parts
from events_worker.limits import steering
from events_worker.limits.definitions import Definition, known_definitions
from events_worker.limits.overview import Holder, InUse, gates_in_use, gates_of, holder_of
from events_worker.parts import Parts

#: Keys, and holders of each, that are shown unless --all.
_MOST = 50


@click.group(cls=ListingGroup)
def limits() -> None:
    """Look at limits, rates, breakers and orders, and change limits. Without a command: list."""


@limits.command("list")
@system_option
@click.option("--all", "everything", is_flag=True, help=f"All keys in use, not only the {_MOST} with most waiters.")
@json_option
def list_(system: EventSystem, everything: bool, as_json: bool) -> None:
    """Show what is in force, who holds places, and who waits."""
    parts = reachable_parts(system)
    known = _known(system, parts)
    found = gates_in_use(parts.coordination, ("limit", "rate", "breaker", "order"), None if everything else _MOST)
    gone = {name: _unknown(name) for name in found.keys if name not in known}
    if as_json:
        print_json([_shown(name, definition, found) for name, definition in {**known, **gone}.items()])
    else:
        print_limits({**known, **gone}.values(), found)


def _shown(name: str, definition: Definition, found: InUse) -> dict[str, Any]:
    gates = [asdict(gate) for gate in found.gates if (gate.kind, gate.name) == (definition.kind, definition.name)]
    return {
        **asdict(definition),
        "max": definition.max,
        "keys_in_use": found.keys[name],
        "waiting": found.waiting[name],
        "keys": [{what: gate[what] for what in gate if what not in ("kind", "name")} for gate in gates],
    }


@limits.command("set")
@system_option
@click.argument("name")
@click.argument("maximum", metavar="MAX", type=click.IntRange(min=1))
@json_option
def set_(system: EventSystem, name: str, maximum: int, as_json: bool) -> None:
    """Let MAX deliveries run at once under the limit NAME, for each key, whatever the code says.

    Holds through restarts and deployments, until `events limits unset`. Those that run are not interrupted.
    """
    parts = reachable_parts(system)
    before = _limit(_known(system, parts), name, parts)
    steering.set_limit(parts.turns.admission, name, maximum)
    if as_json:
        print_json({"name": name, "max": maximum, "before": before.max, "overridden": True})
    else:
        click.echo(f"limit {name}: {maximum} (before: {before.in_force or 'not in force'}, {_code(before)})")


@limits.command()
@system_option
@click.argument("name")
@json_option
def unset(system: EventSystem, name: str, as_json: bool) -> None:
    """Let the limit NAME be what the code of the newest deployment says again."""
    parts = reachable_parts(system)
    known = _known(system, parts)
    before = known.get(f"limit:{name}")
    if before is None or not before.overridden:
        overridden = [limit.name for limit in known.values() if limit.kind == "limit" and limit.overridden]
        raise CommandFailed(f"the limit {name!r} is not set: {known_names(name, overridden, 'limits that are set')}")
    steering.unset_limit(parts.turns.admission, name)
    after = _known(system, parts).get(f"limit:{name}")
    if as_json:
        print_json({"name": name, "max": after and after.max, "before": before.max, "overridden": False})
    else:
        now = after.in_force if after and after.in_force else "what waits for it goes on when a worker defines it again"
        click.echo(f"limit {name}: {now} (before: {before.in_force}, {_code(before)})")


@limits.command()
@system_option
@click.argument("name")
@click.argument("delivery_id")
@click.option("--key", help="Of this key only; default: whichever it holds.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def release(system: EventSystem, name: str, delivery_id: str, key: str | None, yes: bool, as_json: bool) -> None:
    """Give the place of a holder that is known to be dead to the next, before its lease ends.

    NAME: of a limit, or of a handler with an order, whose key goes on then. If the holder lives, more than the limit
    run at once until it ends. DELIVERY_ID: as `events limits` shows it.
    """
    parts = reachable_parts(system)
    known = _known(system, parts)
    order = None if f"limit:{name}" in known else known.get(f"order:{name}")
    limit = order or _limit(known, name, parts)
    gate = f"{limit.kind}:{name}"
    gates = [f"{gate}|{key}"] if key is not None else list(gates_of(parts.coordination, gate))
    held = {gate: holder for gate in gates if (holder := holder_of(parts.coordination, gate, delivery_id))}
    if not held:
        of_key = "" if key is None else f" for the key {key!r}"
        raise CommandFailed(
            f"{delivery_id} holds no place of the {limit.kind} {name!r}{of_key}: it has ended, or "
            "`events limits` shows another id"
        )
    if not yes:
        click.confirm(_question(next(iter(held.values())), limit), abort=True, err=True)
    released = [gate for gate in held if steering.evict(parts.turns.admission, gate, delivery_id)]
    if as_json:
        print_json({"name": name, "delivery": delivery_id, "keys": [gate.partition("|")[2] for gate in released]})
    else:
        click.echo(f"{delivery_id} holds no place of {name} any more" if released else "it has ended meanwhile")


def _question(holder: Holder, limit: Definition) -> str:
    where = f" in {holder.worker}, for {holder.age:.0f} s" if holder.worker and holder.age is not None else ""
    lease = "" if holder.lease_left is None else f", and its lease ends in {holder.lease_left:.0f} s if it is dead"
    return (
        f"{holder.delivery} is {holder.state}{where}{lease}. If it lives, more than {limit.max} will run at once. "
        "Is it dead?"
    )


def _known(system: EventSystem, parts: Parts) -> Mapping[str, Definition]:
    """All that is defined, by "kind:name"."""
    known = known_definitions(parts.coordination, definitions(system.event_map.handlers))
    return {f"{definition.kind}:{definition.name}": definition for definition in known}


def _unknown(name: str) -> Definition:
    """Deliveries wait there, but nobody defines it (any more)."""
    kind, _, own = name.partition(":")
    return Definition(kind, own)


def _limit(known: Mapping[str, Definition], name: str, parts: Parts) -> Definition:
    found = known.get(f"limit:{name}")
    if found is not None:
        return found
    if next(gates_of(parts.coordination, f"limit:{name}"), None) is not None:
        return _unknown(f"limit:{name}")
    others = [definition.kind for definition in known.values() if definition.name == name]
    if others:
        raise CommandFailed(f"{name!r} is the name of a {others[0]}: only limits can be changed here")
    limits_known = [definition.name for definition in known.values() if definition.kind == "limit"]
    raise CommandFailed(f"there is no limit {name!r}: {known_names(name, limits_known, 'limits')}")


def _code(limit: Definition) -> str:
    return f"the code says {limit.in_code}" if limit.in_code else "no code defines it"
