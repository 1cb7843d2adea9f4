"""Events that name themselves in their class body, as a field with a default."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

from pydantic.fields import FieldInfo

from events_core.events import Event


def name_by_body(cls: type[Event], names: dict[str, str]) -> None:
    """Make class variables of fields that say the same of every instance: of ``event_type: str = "user.created"``.

    To be called before pydantic collects the fields. names: of such fields, and the class variable of `Event` that each
    of them sets. Without a default such a name is a field as any other.
    """
    annotations = dict(inspect.get_annotations(cls))
    for name, target in names.items():
        if name in cls.__dict__:
            value = cls.__dict__[name]
            value = value.default if isinstance(value, FieldInfo) else value
            setattr(cls, name, value)
            setattr(cls, target, value)
            annotations[name] = ClassVar[Any]
    cls.__annotations__ = annotations
