"""One thing that is not as it should be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from events_core.settings import without_password
from events_core.transport.schemes import plain

Level = Literal["error", "warning", "deploy"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be. level: ``error`` fails the check, ``deploy`` fails it with --deploy."""

    level: Level
    text: str


def shown_url(url: str) -> str:
    """The URL of a server as its operator knows it, and as it may be shown."""
    return without_password(plain(url))
