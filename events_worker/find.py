"""Finds the EventSystem that a command means."""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType

from events_core import ConfigurationError, EventSystem


def find_system(path: str) -> EventSystem:
    """The system at ``module:name``, or the only one in ``module``. Handlers are loaded.

    Raises ConfigurationError when the module cannot be imported, or holds none or several.
    """
    module_name, _, attribute = path.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise  # the module is there; something that it imports is not
        raise ConfigurationError(
            f"no module {module_name!r} in {os.getcwd()} or on the path: give the module of your EventSystem, "
            "such as -A shop.events, from the folder that holds it"
        ) from error
    system = _named(module, attribute) if attribute else _only(module)
    system.load()
    return system


def _named(module: ModuleType, attribute: str) -> EventSystem:
    value = getattr(module, attribute, None)
    found = _system_of(value)
    if found is None:
        raise ConfigurationError(f"{module.__name__}:{attribute} is {value!r}, no EventSystem")
    return found


def _only(module: ModuleType) -> EventSystem:
    named = [(name, _system_of(value)) for name, value in vars(module).items()]
    found = {id(system): (name, system) for name, system in named if system is not None}
    if not found:
        raise ConfigurationError(f"{module.__name__} holds no EventSystem: name the module that does")
    if len(found) > 1:
        names = ", ".join(sorted(f"{module.__name__}:{name}" for name, _ in found.values()))
        raise ConfigurationError(f"{module.__name__} holds several EventSystems: choose one of {names}")
    return next(iter(found.values()))[1]


def _system_of(value: object) -> EventSystem | None:
    """The system itself, or that of what of ours stands for one, such as `events_core.compat.EventEmitter`."""
    if isinstance(value, EventSystem):
        return value
    ours = type(value).__module__.startswith("events_core.")
    system = getattr(value, "system", None) if ours else None
    return system if isinstance(system, EventSystem) else None
