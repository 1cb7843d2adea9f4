"""Upcasters: what was written as an older version becomes the newest one; what goes wrong in them is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic_core import to_json

from events_core import BindError, DomainEvent, EventSystem, NotificationEvent
from events_core import catalog as catalog_module
from events_core.catalog import path_from, upcaster, upcasters
from events_core.envelope import Envelope
from events_core.errors import DuplicateBinding, InvalidEnvelope, UnknownEventVersion
from events_worker.checks.subscribers import check_upcasters


class Third(DomainEvent, event_type="upcast.changed", version=3):
    names: list[str]
    note: str = ""


class Plain(NotificationEvent, event_type="upcast.plain", version=2):
    text: str


@pytest.fixture(autouse=True)
def _registered_in_the_test_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog_module, "_upcasters", {})


def written(event_type: str, version: int, **data: Any) -> Envelope:
    """An envelope as an older version of this application, or another one, wrote it."""
    envelope = Envelope.of(Plain(text=""))
    envelope.type, envelope.version, envelope.data = event_type, version, to_json(data)
    return envelope


def first(data: dict[str, Any]) -> dict[str, Any]:
    return {"names": data["name"]}


def second(data: dict[str, Any]) -> dict[str, Any]:
    return {"names": data["names"].split(), "note": "split"}


def test_a_chain_leads_to_the_newest_version() -> None:
    """Version 1 goes through both, version 2 through the second, version 3 through none; the id and time stay."""
    upcaster("upcast.changed", from_version=1)(first)
    upcaster("upcast.changed", from_version=2)(second)
    one = written("upcast.changed", 1, name="a b")
    event = one.event()
    assert isinstance(event, Third)
    assert (event.names, event.note, str(event.event_id)) == (["a", "b"], "split", one.id)
    assert written("upcast.changed", 2, names="c d").event().model_dump()["names"] == ["c", "d"]
    assert written("upcast.changed", 3, names=["e"]).event().model_dump()["names"] == ["e"]
    assert one.version == 1
    assert json.loads(one.data) == {"name": "a b"}


def test_the_system_registers_them_too() -> None:
    """`@events.upcaster(...)`, as the documentation shows it; it gives the function back."""
    events = EventSystem("shop", broker_url="redis://localhost:1")
    assert events.upcaster("upcast.plain", from_version=1)(first) is first
    assert [found.name for found in upcasters()] == [f"{__name__}.first"]


def test_extra_fields_that_an_upcaster_leaves_are_ignored() -> None:
    """As in any received event."""
    upcaster("upcast.plain", from_version=1)(lambda data: {**data, "text": "t", "more": 1})
    assert written("upcast.plain", 1, old=True).event().model_dump()["text"] == "t"


class TestMistakes:
    @pytest.mark.parametrize(
        "make, says",
        [
            (lambda: upcaster("", from_version=1), "give the event's type"),
            (lambda: upcaster("a.b", from_version=0), "must be a whole number from 1 on"),
            (lambda: upcaster("a.b", from_version=True), "must be a whole number from 1 on"),
            (lambda: upcaster("a.b", from_version=1)("text"), "must be a plain function of the data, not 'text'"),  # type: ignore[arg-type]
            (lambda: upcaster("a.b", from_version=1)(Third), "must be a plain function of the data"),  # type: ignore[arg-type]
            (lambda: upcaster("a.b", from_version=1)(lambda: {}), "must take one dict"),  # type: ignore[arg-type,misc]
        ],
    )
    def test_what_cannot_be_one(self, make: Callable[[], object], says: str) -> None:
        """Refused when it is registered, not when the first old event comes."""
        with pytest.raises(BindError, match=says):
            make()
        assert upcasters() == []

    def test_an_async_one(self) -> None:
        """It would give a coroutine, and never run."""

        async def later(data: dict[str, Any]) -> dict[str, Any]:
            return data

        with pytest.raises(BindError, match="plain function, not async"):
            upcaster("a.b", from_version=1)(later)  # type: ignore[arg-type]

    def test_two_from_the_same_version(self) -> None:
        """Both are named. The same one again is a module that was loaded anew."""
        upcaster("a.b", from_version=1)(first)
        upcaster("a.b", from_version=1)(first)
        with pytest.raises(DuplicateBinding, match=r"first and .*second both make 'a.b' version 1 newer"):
            upcaster("a.b", from_version=1)(second)

    def test_a_gap(self) -> None:
        """The chain ends at a version without a class: the error says which upcaster is missing; the check finds it."""
        upcaster("upcast.changed", from_version=1)(first)
        with pytest.raises(UnknownEventVersion, match=r"add @events.upcaster\('upcast.changed', from_version=2\)"):
            path_from("upcast.changed", 1)
        events = EventSystem("shop", broker_url="redis://localhost:1")
        (finding,) = check_upcasters(events)
        assert finding.level == "error"
        assert "first leads nowhere" in finding.text

    @pytest.mark.parametrize(
        "function, says",
        [
            (lambda data: data["missing secret"], "failed with KeyError"),
            (lambda data: [data], "gave a list instead of the data"),
            (lambda data: {"text": object()}, "gave data that JSON cannot hold"),
        ],
    )
    def test_one_that_fails_is_named_without_the_data(self, function: Any, says: str) -> None:
        """An exception, something else than a dict, a value that is no JSON: InvalidEnvelope, and no payload in it."""
        upcaster("upcast.plain", from_version=1)(function)
        with pytest.raises(InvalidEnvelope, match=says) as caught:
            written("upcast.plain", 1, text="secret").event()
        assert "<lambda> of 'upcast.plain' from version 1" in str(caught.value)
        assert "secret" not in str(caught.value)

    def test_a_result_that_does_not_fit_the_class(self) -> None:
        """The error names the version that it was made into."""
        upcaster("upcast.plain", from_version=1)(lambda data: {"text": None})
        with pytest.raises(InvalidEnvelope, match=r"does not fit 'upcast.plain' version 2: text"):
            written("upcast.plain", 1).event()
