"""What is not as our promises need it: said by `events check`, and once when a worker starts."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

from events_core import EventSystem

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be. level: ``error`` fails the check, ``deploy`` fails it with --deploy."""

    level: Literal["error", "warning", "deploy"]
    text: str


def findings(system: EventSystem) -> list[Finding]:
    """Everything that can be told now."""
    return []


def log_findings(system: EventSystem) -> None:
    """Say the findings in the worker's log."""
    for finding in findings(system):
        logger.warning("%s", finding.text)
