"""How a command fails: with a message, not with a traceback."""

from __future__ import annotations

import traceback
from pathlib import Path

import click

from events_core.errors import EventsError

_OURS = tuple(str(Path(__file__).parents[2] / package) for package in ("events_core", "events_worker"))


class CommandFailed(EventsError):
    """The command cannot do what it was asked for; the message says why and what to do."""


def place_of(error: BaseException) -> str:
    """Where in the application's code an error came from, as `` (file:line)``; empty if nowhere there."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_the_applications(frame.filename)]
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def _is_the_applications(file: str) -> bool:
    return not file.startswith((*_OURS, "<frozen importlib")) and "importlib" not in Path(file).parts


def say_error(text: str) -> None:
    """Say on stderr why the command fails."""
    click.secho(f"error: {text}", fg="red", err=True)


def reason_of(error: BaseException) -> str:
    """What the error says, as part of a sentence."""
    return str(error).strip(". ") or type(error).__name__
