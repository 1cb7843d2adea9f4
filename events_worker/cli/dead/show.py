"""`events dead show`."""

from __future__ import annotations

import json
from typing import Any

import click

from events_core import EventSystem
from events_core.secret import MASK
from events_worker.cli.dead.selection import Selection
from events_worker.cli.failing import CommandFailed
from events_worker.cli.options import json_option, system_option
from events_worker.cli.output import cell, console, print_json
from events_worker.cli.reach import reachable_parts
from events_worker.dead_letters import DeadLetter, DeadLetters
from events_worker.payloads import shown_data


@click.command()
@system_option
@click.argument("letter_id", metavar="ID")
@click.option(
    "--payload",
    is_flag=True,
    help="Show the event's data too, its secret fields masked; or undecodable bytes in base64, with their headers.",
)
@json_option
def show(system: EventSystem, letter_id: str, payload: bool, as_json: bool) -> None:
    """Show everything about one dead letter. ID: of the delivery, or of an event with one dead delivery."""
    letter = _find(reachable_parts(system).dead_letters, letter_id)
    values = _values(letter, payload=payload)
    if as_json:
        print_json(values)
        return
    out = console()
    for name, value in values.items():
        if name != "traceback":
            text = json.dumps(value, indent=2, ensure_ascii=False) if isinstance(value, dict | list) else value
            out.print(cell(f"{name}: ", "bold").append_text(cell(text)), soft_wrap=True)
    if letter.traceback:
        out.print(cell(f"traceback:\n{letter.traceback.rstrip()}"), soft_wrap=True)
    if not payload:
        out.print(cell("(the payload is shown with --payload)", "dim"))


def _find(store: DeadLetters, letter_id: str) -> DeadLetter:
    letter = store.get(letter_id)
    if letter is not None:
        return letter
    letters = list(Selection((letter_id,), None, None, None).letters(store))
    if len(letters) > 1:
        raise CommandFailed(
            f"several deliveries of the event {letter_id} are dead, choose one: "
            + ", ".join(f"{letter.id} ({letter.handler})" for letter in letters)
        )
    return letters[0]


def _values(letter: DeadLetter, *, payload: bool) -> dict[str, Any]:
    message = letter.message or {}
    values = {**letter.shown(), "headers": message.get("headers"), "traceback": letter.traceback}
    if letter.received is not None:
        shown = {name: value for name, value in letter.received.items() if payload or name != "headers"}
        values["received"] = shown
    if payload:
        values |= _payload(letter)
    return values


def _payload(letter: DeadLetter) -> dict[str, Any]:
    """The payload, and a remark where it is not as it was sent."""
    if letter.raw is not None:
        return {"payload": {"base64": letter.raw}}
    body = (letter.message or {}).get("body", "")
    try:
        envelope = json.loads(body)[0][0]
        data, remark = shown_data(envelope["type"], envelope["version"], envelope["data"])
    except (ValueError, LookupError, TypeError):
        return {"payload": MASK, "remark": "the payload is hidden: it is no event, and may hold anything"}
    return {"payload": {**envelope, "data": data}} | ({} if remark is None else {"remark": remark})
