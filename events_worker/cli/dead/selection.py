"""Which dead letters a command is about."""

from __future__ import annotations

import functools
import time
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click
from rich.progress import track

from events_worker.cli.failing import CommandFailed
from events_worker.cli.options import stderr_is_terminal
from events_worker.cli.output import console
from events_worker.dead_letters import DeadLetter, DeadLetters
from events_worker.outcome import Reason

Command = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters: those that fit everything that is given."""

    ids: tuple[str, ...]
    handler: str | None
    event_type: str | None
    reason: str | None

    def __bool__(self) -> bool:
        return bool(self.ids or self.handler or self.event_type or self.reason)

    def letters(self, store: DeadLetters) -> Iterator[DeadLetter]:
        """The letters that fit, newest first. Raises CommandFailed at the end for an id of which there is none."""
        missing = set(self.ids)
        for letter in store.find(ids=self.ids, handler=self.handler, event_type=self.event_type, reason=self.reason):
            missing -= {letter.id, letter.event_id}
            yield letter
        if missing:
            fitting = " that fits" if self.handler or self.event_type or self.reason else ""
            raise CommandFailed(
                f"no dead letter{fitting} with this id of a delivery or event: {', '.join(sorted(missing))}"
            )


def selecting(command: Command) -> Command:
    """Adds ids and filters, and calls the command with the `selection`."""

    @click.argument("ids", nargs=-1)
    @click.option("--handler", metavar="NAME", help="Those of this handler; may be a pattern such as 'shop.*'.")
    @click.option("--type", "event_type", metavar="TYPE", help="Those of this event type; may be a pattern.")
    @click.option("--reason", type=click.Choice(typing.get_args(Reason)), help="Those with this reason.")
    @functools.wraps(command)
    def with_selection(
        ids: tuple[str, ...], handler: str | None, event_type: str | None, reason: str | None, **values: Any
    ) -> Any:
        return command(selection=Selection(ids, handler, event_type, reason), **values)

    return with_selection


def acting(command: Command) -> Command:
    """Adds what a command that changes something needs besides."""
    for option in (
        click.option("--all", "everything", is_flag=True, help="All dead letters."),
        click.option("--dry-run", is_flag=True, help="Only show which they are."),
        click.option("--yes", is_flag=True, help="Do not ask."),
    ):
        command = option(command)
    return command


def chosen(store: DeadLetters, selection: Selection, *, everything: bool) -> list[str]:
    """The ids of the letters to act on. Raises click.UsageError where nothing was selected, or too much."""
    if not selection and not everything:
        raise click.UsageError("say which: ids, --handler, --type, --reason, or --all")
    if selection and everything:
        raise click.UsageError("--all is every dead letter: leave out either it or the selection")
    return [letter.id for letter in selection.letters(store)]


def confirm(count: int, verb: str, *, yes: bool) -> None:
    """Ask before acting on several."""
    if count > 1 and not yes:
        click.confirm(f"{verb} {count} dead letters?", abort=True, err=True)


def paced(ids: Sequence[str], rate: float | None, what: str) -> Iterator[str]:
    """The ids, `rate` each second at the most, with a progress bar where someone watches."""
    start = time.monotonic()
    bar = console(stderr=True)
    for number, letter_id in enumerate(track(ids, what, console=bar, transient=True, disable=not stderr_is_terminal())):
        if rate is not None:
            time.sleep(max(0.0, start + number / rate - time.monotonic()))
        yield letter_id
