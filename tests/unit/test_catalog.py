"""Which class a received (type, version) belongs to."""

from __future__ import annotations

import pytest

from events_core import DomainEvent
from events_core.catalog import event_types, find
from events_core.errors import UndecodableEvent, UnknownEventType, UnknownEventVersion


class First(DomainEvent, event_type="catalog.changed", version=1):
    pass


class Third(DomainEvent, event_type="catalog.changed", version=3):
    pass


def test_each_version_is_found() -> None:
    """(type, version) names exactly one class."""
    assert find("catalog.changed", 1) is First
    assert find("catalog.changed", 3) is Third


def test_an_unknown_version_names_those_that_are_known() -> None:
    """The error says which versions this process has, for whoever reads the dead letter."""
    with pytest.raises(UnknownEventVersion, match=r"'catalog.changed' version 2 .* only 1, 3"):
        find("catalog.changed", 2)


def test_an_unknown_type_says_what_to_do() -> None:
    """The error names the type and the setting that loads its module."""
    with pytest.raises(UnknownEventType, match=r"'catalog.other'.*handlers=\["):
        find("catalog.other", 1)


def test_both_are_undecodable_events() -> None:
    """One error to catch for everything that cannot be decoded here."""
    assert issubclass(UnknownEventType, UndecodableEvent)
    assert issubclass(UnknownEventVersion, UndecodableEvent)


def test_all_classes_are_listed_by_type_and_version() -> None:
    """`events check` and `events map` list what this gives."""
    listed = [(cls.event_type, cls.version) for cls in event_types()]
    assert listed == sorted(listed)
    assert [cls for cls in event_types() if cls.event_type == "catalog.changed"] == [First, Third]
