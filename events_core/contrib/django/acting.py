"""Redrive and discard, of the letters that were chosen in the admin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from django.contrib import messages

from events_core import ConfigurationError, EmitError, EventsError
from events_core.contrib.django import worker_side
from events_core.contrib.django.reaching import FAILURES, reason_of
from events_core.contrib.django.system import get_system

ACTIONS = ("redrive", "discard")
_DONE = {"redrive": "redriven", "discard": "discarded"}


@dataclass(frozen=True, slots=True)
class Said:
    """A message for who did it."""

    text: str
    level: int


def act(action: str, ids: Sequence[str], log: Callable[[str, str], None]) -> Iterator[Said]:
    """Do it, one after another; stops at a server that does not answer, and what is left stays dead.

    log: is told of each letter what happened to it, as soon as it has.
    """
    done = gone = 0
    refused: list[str] = []
    for letter_id in ids:
        try:
            what = _one(action, letter_id)
        except EmitError as error:
            yield Said(f"The broker does not confirm, the rest stays dead: {error.reason}.", messages.ERROR)
            break
        except FAILURES as error:
            if isinstance(error, EventsError) and not isinstance(error, ConfigurationError):
                refused.append(reason_of(error))
                continue
            yield Said(reason_of(error), messages.ERROR)
            break
        if what is None:
            gone += 1
        else:
            done += 1
            log(letter_id, what)
    if refused:
        yield Said(f"{len(refused)} refused: {refused[0]}", messages.WARNING)
    if gone:
        yield Said(f"{gone} redriven or discarded by someone else meanwhile.", messages.WARNING)
    if done:
        yield Said(f"{done} of {len(ids)} {_DONE[action]}.", messages.SUCCESS)


def _one(action: str, letter_id: str) -> str | None:
    """What happened to it; None: it was gone."""
    system = get_system()
    store = worker_side.dead_letters(system)
    letter = store.get(letter_id)
    if letter is None:
        return None
    if action == "discard":
        return "Discarded." if store.discard(letter) else None
    redriven = worker_side.redrive(system, letter)
    return None if redriven is None else f"Redriven as {redriven}."
