"""What handlers need, and the container cannot make. Makes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from events_core import EventSystem
from events_core.containers.adapting import checker
from events_core.handlers import HandlerSpec
from events_core.needs import DependencyError, name_of
from events_worker.checks.finding import Finding


def check_dependencies(system: EventSystem, spec: HandlerSpec) -> Iterator[Finding]:
    """A finding on what the handler or its fallback needs, where the container can be asked what it makes."""
    for handler in (spec, spec.fallback):
        error = None if handler is None else _missing(system, handler)
        if handler is None or error is None:
            continue
        if spec.in_transaction and spec.kind == "class":
            doubt = "unless whoever emits the event makes its instances itself"
            yield Finding("warning", f"{handler.name} cannot run, {doubt}: {error}{_remedy(system, error)}")
        else:
            yield Finding("error", f"{handler.name} cannot run: {error}{_remedy(system, error)}")


def _missing(system: EventSystem, spec: HandlerSpec) -> DependencyError | None:
    check = checker(system.container)
    try:
        needs = spec.needs  # of a function; told before the container is asked, whichever that is
        if check is None or spec.kind == "task":
            return None
        if spec.kind == "class":
            check(spec.target)
        for _, wanted in needs:
            try:
                check(wanted)
            except DependencyError as error:
                return error.asked_by(name_of(spec.target))
    except DependencyError as error:
        return error
    return None


def _remedy(system: EventSystem, error: DependencyError) -> str:
    if system.container is None and "register" in error.problem:
        return f" (the system has no container yet: EventSystem({system.name!r}, container=DefaultContainer()))"
    return ""
