"""Failures as they may be shown: without the values of the event that was handled."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import BaseModel, ValidationError

from events_core.envelope import Envelope, describe
from events_core.secret import MASK
from events_worker.payloads import secrets_of
from events_worker.spellings import forms_of

_WORKER = str(Path(__file__).parent)
_LONGEST_MESSAGE = 500
_LONGEST_TRACEBACK = 8000
#: Shorter values that are not secret say nothing, and would blank out half of every text.
_SHORTEST_VALUE = 4


#: Characters of a text that are looked at: each value of the payload is looked for in all of them.
_READ = 20_000


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception as it may be shown."""

    type: str
    message: str
    traceback: str


def redacted(error: BaseException, envelope: Envelope | None) -> Failure:
    """`error` with every value of the event's payload replaced by ``***``; secret ones also where they are encoded."""
    values = set[str]() if envelope is None else {*_values(envelope), *_secrets(envelope)} - {""}
    text = _text_of(error)
    trace = "".join(traceback.format_exception(type(error), error, _from_handler(error.__traceback__)))
    # a validation error quotes its input, shortened, or what need not be a value of this event
    for quoting in _validation_errors(error):
        text = _unquoted(text, quoting)
        trace = _unquoted(trace, quoting)
    return Failure(
        type(error).__name__,
        _without(text, values)[:_LONGEST_MESSAGE],
        _without(trace, values, end=True)[-_LONGEST_TRACEBACK:],
    )


def _unquoted(text: str, quoting: ValidationError) -> str:
    text = text.replace(str(quoting), describe(quoting))
    for line in str(quoting).splitlines():  # as a group of exceptions shows it: each line behind a margin
        if "[type=" in line:
            text = text.replace(line.strip(), "***")
    return text


def _validation_errors(error: BaseException) -> Iterator[ValidationError]:
    """Those in the chain of causes, which the traceback shows too."""
    pending, seen = [error], set[int]()
    while pending:
        here = pending.pop()
        if id(here) in seen:
            continue
        seen.add(id(here))
        if isinstance(here, ValidationError):
            yield here
        pending.extend(filter(None, (here.__cause__, here.__context__)))
        if isinstance(here, BaseExceptionGroup):
            pending.extend(here.exceptions)


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # an exception whose text fails must not keep the delivery from being settled
        return "(its text cannot be had)"


def _from_handler(trace: TracebackType | None) -> TracebackType | None:
    """The traceback without the frames of the worker, which lead to every handler."""
    here = trace
    while here is not None and here.tb_frame.f_code.co_filename.startswith(_WORKER):
        here = here.tb_next
    return here


def _without(text: str, values: set[str], *, end: bool = False) -> str:
    """The text with ``***`` wherever one of these stands, or several that overlap.

    Of a long one its beginning only, or with `end` its end.
    """
    longest = max(map(len, values), default=0)
    cut = len(text) > _READ + longest
    if cut:
        text = text[-_READ - longest :] if end else text[: _READ + longest]
    hidden = bytearray(len(text))
    if cut and longest:  # a value may have been cut there
        hidden[slice(0, longest) if end else slice(-longest, None)] = b"\1" * longest
    for value in values:
        start = text.find(value)
        while start >= 0:
            hidden[start : start + len(value)] = b"\1" * len(value)
            start = text.find(value, start + 1)  # it may overlap itself
    spans = groupby(zip(text, hidden, strict=True), key=itemgetter(1))
    return "".join(MASK if covered else "".join(letter for letter, _ in span) for covered, span in spans)


def _values(envelope: Envelope) -> Iterator[str]:
    for value in _leaves(json.loads(envelope.data)):
        if len(str(value)) >= _SHORTEST_VALUE:
            yield str(value)
            yield from _lines(value)
            if isinstance(value, str):
                yield repr(value)[1:-1]


def _secrets(envelope: Envelope) -> Iterator[str]:
    for value in _leaves(secrets_of(envelope)):
        yield from forms_of(value)
        yield from _lines(value)


def _lines(value: Any) -> Iterator[str]:
    """The lines of a text that has several: a group of exceptions shows each behind a margin."""
    lines = value.splitlines() if isinstance(value, str) else []
    return (line for line in lines[: len(lines) if len(lines) > 1 else 0] if len(line.strip()) >= _SHORTEST_VALUE)


def _leaves(value: Any) -> Iterator[Any]:
    """The values within that say something."""
    pending: list[Any] = [value]
    while pending:
        here = pending.pop()
        if hasattr(here, "get_secret_value"):
            here = here.get_secret_value()
        if isinstance(here, BaseModel):
            here = vars(here)
        if is_dataclass(here):
            here = {field.name: getattr(here, field.name) for field in fields(here)}
        if isinstance(here, dict):
            pending.extend(here.values())
        elif isinstance(here, list | tuple | set | frozenset):
            pending.extend(here)
        elif here is not None and not isinstance(here, bool):
            yield here
