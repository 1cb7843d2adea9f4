"""How `events limits` looks in a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from events_worker.cli.output import cell, console, table
from events_worker.limits.definitions import Definition
from events_worker.limits.overview import GateInUse, InUse


def print_limits(known: Iterable[Definition], found: InUse) -> None:
    """Three tables: what is in force, the keys in use, and their holders."""
    out = console()
    names = table("In force", "kind", "name", "allows", "keys in use", "waiting", "remarks", whole=("name",))
    for definition in known:
        _add_name(names, definition, found)
    if not names.row_count and not found.gates:
        out.print("no handler has a limit, rate, breaker or order")
        return
    out.print(names)
    if not found.gates:
        out.print("\nnobody holds a place or waits")
        return
    out.print()
    out.print(_keys(found.gates))
    out.print()
    out.print(_holders(found.gates))
    hidden = sum(found.keys.values()) - len(found.gates)
    if hidden > 0:
        out.print(f"\n{hidden} further keys are in use (--all shows them)")


def _add_name(names: Table, definition: Definition, found: InUse) -> None:
    name = f"{definition.kind}:{definition.name}"
    names.add_row(
        *map(cell, (definition.kind, definition.name, allowed(definition.kind, definition.in_force))),
        *map(cell, (found.keys[name], found.waiting[name])),
        _remarks(definition),
    )


def _remarks(definition: Definition) -> Text:
    code = allowed(definition.kind, definition.in_code)
    remarks = []
    if definition.overridden:
        remarks.append(f"overridden (the code: {code})" if definition.in_code else "overridden (no code defines it)")
    elif definition.in_force is None:
        remarks.append(f"not in force: no worker that runs declares it (the code: {code})")
    elif definition.in_code is None:
        remarks.append("no code defines it any more")
    elif definition.in_code not in (None, definition.in_force):
        remarks.append(f"the code: {code}")
    if definition.breaker is not None and definition.in_force is not None:
        remarks.append(definition.breaker)
    return cell(", ".join(remarks), "yellow" if definition.overridden or definition.in_force is None else "")


def allowed(kind: str, text: str | None) -> str:
    """A definition of the scripts in words."""
    if text is None:
        return "-"
    match kind, text.split():
        case "rate", [interval, burst]:
            each = float(interval)
            pace = f"{1000 / each:g}/s" if each <= 1000 else f"1 in {each / 1000:g} s"
            return f"{pace}, burst {burst}"
        case "breaker", [fail_max, reset]:
            return f"{fail_max} failures, then none for {float(reset) / 1000:g} s"
        case "order", _:
            return f"1 for each key, on_dead={text}"
    return text


def _keys(gates: Iterable[GateInUse]) -> Table:
    shown = table("Keys in use", "kind", "name", "key", "held", "waiting", "oldest wait", whole=("name",))
    for gate in gates:
        values = (gate.kind, gate.name, gate.key, gate.held, gate.waiting, seconds(gate.oldest_wait))
        shown.add_row(*map(cell, values))
    return shown


def _holders(gates: Iterable[GateInUse]) -> Table:
    columns = ("kind", "name", "key", "delivery", "state", "age", "worker", "lease left")
    shown = table("Holders", *columns, whole=("delivery",))
    for gate in gates:
        for holder in gate.holders:
            times = (seconds(holder.age), holder.worker, seconds(holder.lease_left))
            shown.add_row(*map(cell, (gate.kind, gate.name, gate.key, holder.delivery, holder.state, *times)))
        if gate.held > len(gate.holders):
            shown.add_row(
                *map(cell, (gate.kind, gate.name, gate.key, f"and {gate.held - len(gate.holders)} more (--all)"))
            )
    return shown


def seconds(value: float | None) -> str:
    """A time as people read it."""
    if value is None:
        return "-"
    if value < 120:
        return f"{value:.1f} s"
    minutes = value / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
