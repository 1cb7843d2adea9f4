"""What is asked of events_worker, which events_core never imports: the one place that names it, as strings."""

from __future__ import annotations

import importlib
import typing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from events_core import EventSystem
    from events_worker.dead_letters import DeadLetters
    from events_worker.dead_letters.pages import Pages


def static_findings(system: EventSystem) -> list[tuple[str, str]]:
    """What `events check` finds without a network, as (level, text): error, deploy or warning."""
    found = _module("checks").static_findings(system)
    return [(finding.level, finding.text) for finding in found]


def run_command(name: str, arguments: list[str]) -> None:
    """The command `events`, called `name` in its help. Ends with SystemExit."""
    _module("cli").main(args=arguments, prog_name=name)


def dead_letters(system: EventSystem) -> DeadLetters:
    """The store. Raises ConfigurationError where no coordination Redis is known."""
    store: DeadLetters = _module("parts").parts_of(system).dead_letters
    return store


def pages(system: EventSystem) -> Pages:
    """Dead letters by the page. Raises as `dead_letters`."""
    coordination = _module("parts").parts_of(system).coordination
    found: Pages = _module("dead_letters.pages").Pages(coordination)
    return found


def redrive(system: EventSystem, letter: Any) -> str | None:
    """The id of the new delivery; None if someone else redrives the letter, or it is gone.

    Raises EventsError: the letter is no delivery, or the broker does not confirm. The letter stays then.
    """
    redriven: str | None = _module("dead_letters.redrive").redrive(system, dead_letters(system), letter)
    return redriven


def shown_data(event_type: str | None, version: int | None, data: Any) -> tuple[Any, str | None]:
    """An event's data with its secret fields masked, and a remark on what is not as it was sent."""
    shown: tuple[Any, str | None] = _module("payloads").shown_data(event_type, version, data)
    return shown


def reasons() -> list[str]:
    """Why deliveries become dead letters."""
    return list(typing.get_args(_module("outcome").Reason))


def _module(name: str) -> Any:
    return importlib.import_module(f"events_worker.{name}")
