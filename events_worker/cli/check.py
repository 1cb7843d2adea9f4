"""`events check`: is the application in order, and are the servers as our promises need them?"""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import click

from events_core import EventSystem
from events_core.catalog import event_types
from events_core.policies import Retry
from events_worker.checks import Finding, findings
from events_worker.cli.options import json_option, system_option
from events_worker.cli.output import cell, console, print_json, table

_STYLES = {"error": "red", "deploy": "magenta", "warning": "yellow"}


@click.command()
@system_option
@click.option("--deploy", is_flag=True, help="Fail also on what is fit for development only.")
@json_option
def check(system: EventSystem, deploy: bool, as_json: bool) -> None:
    """Show event types, handlers and queues, and what is not as it should be. Exit code 1 on errors."""
    found = findings(system)
    failing = [finding for finding in found if finding.level in ("error", *(["deploy"] if deploy else []))]
    shown: dict[str, Any] = {
        "ok": not failing,
        "event_types": _event_types(),
        "handlers": _handlers(system),
        "queues": sorted(system.queues()),
        "findings": [asdict(finding) for finding in found],
    }
    if as_json:
        print_json(shown)
    else:
        _print(shown, found, len(failing), deploy)
    sys.exit(1 if failing else 0)


def _event_types() -> list[dict[str, Any]]:
    return [
        {
            "event_type": event.event_type,
            "version": event.version,
            "kind": event.event_kind,
            "class": f"{event.__module__}.{event.__qualname__}",
        }
        for event in event_types()
    ]


def _handlers(system: EventSystem) -> list[dict[str, Any]]:
    bound = [(key if isinstance(key, str) else key.event_type, spec) for key, spec in system.event_map.bindings]
    bound += [(event.event_type, found.spec) for found in system.event_map.subscribers for event in found.events]
    return [
        {
            "name": spec.name,
            "event": event,
            "queue": spec.queue or ("" if spec.kind == "task" else system.settings.default_queue),
            "mode": "task" if spec.kind == "task" else "async" if spec.is_async else "sync",
            "timeout": spec.timeout,
            "retry": _retry(spec.retry),
        }
        for event, spec in bound
    ]


def _retry(retry: Retry | None) -> dict[str, Any] | None:
    names = ("max_attempts", "base", "factor", "max_delay", "jitter")
    return None if retry is None else {name: getattr(retry, name) for name in names}


def _print(shown: dict[str, Any], found: list[Finding], failing: int, deploy: bool) -> None:
    out = console()
    events = table("Event types", "type", "version", "kind", "class")
    for event in shown["event_types"]:
        events.add_row(*(cell(event[name]) for name in ("event_type", "version", "kind", "class")))
    handlers = table("Handlers", "handler", "event", "queue", "mode", "timeout", "retry")
    for handler in shown["handlers"]:
        values = [*(handler[name] for name in ("name", "event", "queue", "mode")), _seconds(handler["timeout"])]
        handlers.add_row(*map(cell, values), cell(_retry_text(handler["retry"])))
    for shown_table in (events, handlers):
        out.print(shown_table)
        out.print()
    out.print(cell(f"Queues: {', '.join(shown['queues'])}"))
    for finding in found:
        out.print(cell(f"{finding.level}: {finding.text}", _STYLES[finding.level]))
    hint = "" if deploy or not any(f.level == "deploy" for f in found) else " (deploy: fails with --deploy)"
    out.print(cell(f"{len(found)} findings, {failing} failing{hint}", "red" if failing else "green"))


def _seconds(value: float | None) -> str:
    return "none" if value is None else f"{value:g} s"


def _retry_text(retry: dict[str, Any] | None) -> str:
    if retry is None:
        return "none"
    return (
        f"{retry['max_attempts']} attempts, {retry['base']:g} s × {retry['factor']:g}, at most {retry['max_delay']:g} s"
    )
