"""Failures as they may be shown: without the values of the event that was handled."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import ValidationError

from events_core.envelope import Envelope, describe

_WORKER = str(Path(__file__).parent)
_LONGEST_MESSAGE = 500
_LONGEST_TRACEBACK = 8000
#: Shorter values say nothing, and would blank out half of every text.
_SHORTEST_VALUE = 4


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception as it may be shown."""

    type: str
    message: str
    traceback: str


def redacted(error: BaseException, envelope: Envelope | None) -> Failure:
    """`error` with every value of the event's payload replaced by ``***``."""
    values = sorted(set(_values(envelope)), key=len, reverse=True)
    text = _text_of(error)
    trace = "".join(traceback.format_exception(type(error), error, _from_handler(error.__traceback__)))
    # a validation error quotes its input, shortened, or what need not be a value of this event
    for quoting in _validation_errors(error):
        text = text.replace(str(quoting), describe(quoting))
        trace = trace.replace(str(quoting), describe(quoting))
    return Failure(
        type(error).__name__,
        _without(text, values)[:_LONGEST_MESSAGE],
        _without(trace, values)[-_LONGEST_TRACEBACK:],
    )


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


def _without(text: str, values: list[str]) -> str:
    for value in values:
        text = text.replace(value, "***")
    return text


def _values(envelope: Envelope | None) -> Iterator[str]:
    if envelope is None:
        return
    pending: list[Any] = [json.loads(envelope.data)]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
        elif value is not None and not isinstance(value, bool) and len(str(value)) >= _SHORTEST_VALUE:
            yield str(value)
            if isinstance(value, str):
                yield repr(value)[1:-1]
