"""The emission of groups into a real Redis: members, memory, failures and repeated runs."""

from __future__ import annotations

import logging
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from events_core import DomainEvent, EmitError, EventSystem
from events_core.admission.client import Go, Stale
from events_core.entities import Entity
from events_core.errors import EventDefinitionError, EventTooLarge, NotAnEvent
from events_core.groups import Group, GroupCompleted
from events_core.scope import handling
from tests.support.office import LEASE, Bound, Office, Page, pages, scope_of


class Tied(DomainEvent, event_type="emission.tied"):
    number: int


@pytest.fixture
def office(redis_url: str, system_name: str) -> Iterator[Office]:
    made = Office(redis_url, system_name)
    yield made
    made.client.close()
    made.system.close()


class TestMembers:
    def test_only_so_many_are_in_the_broker(self, office: Office) -> None:
        group = office.system.emit_group(pages(10), max_parallel=3)
        assert len(office.granted) == 3
        assert {message["headers"]["events-group"] for message in office.granted} == {group.id}
        office.settle_next()
        assert len(office.granted) == 3
        progress = group.progress()
        assert (progress.total, progress.running, progress.waiting, progress.done) == (10, 3, 6, 1)
        assert office.settle_all() == list(range(1, 10))
        assert group.progress().state == "completed"

    def test_each_counts_once(self, office: Office) -> None:
        """A message that is delivered again after its delivery was settled counts nothing, and is stale."""
        group = office.system.emit_group(pages(3), max_parallel=3)
        message = office.granted[0]
        token = office.begin(message)
        office.end(message, token)
        assert not office.admission.release(message["headers"]["id"], token, office.gates(message), "dead", failed=True)
        again = office.admission.acquire(message["headers"]["id"], 1, office.gates(message), LEASE, token=token)
        assert isinstance(again, Stale)
        assert (group.progress().done, group.progress().dead, group.progress().total) == (1, 0, 3)

    def test_a_message_that_comes_again_when_the_group_has_been_freed(self, office: Office) -> None:
        """Whatever it says of itself: its gate is not known any more, and all of its group was settled."""
        group = office.system.emit_group(pages(1), max_parallel=1)
        message = office.granted[0]
        office.settle_all()
        office.look_after_groups()
        assert not office.client.hexists(office.key("gates"), f"group:{group.id}")
        for run, token in ((1, message["headers"]["events-grant"]), (1, 0), (2, 0)):
            again = office.admission.acquire(message["headers"]["id"], run, office.gates(message), LEASE, token=token)
            assert isinstance(again, Stale)

    def test_retrying_is_told_and_takes_no_place_of_many(self, office: Office) -> None:
        group = office.system.emit_group(pages(4), max_parallel=2)
        message = office.granted.pop(0)
        office.end(message, office.begin(message), "retry")
        progress = group.progress()
        assert (progress.running, progress.retrying, progress.waiting) == (2, 1, 1)
        assert office.settle_all() == [1, 2, 3]
        member, gates = message["headers"]["id"], office.gates(message)
        answer = office.admission.acquire(member, 2, gates, LEASE)
        assert isinstance(answer, Go)
        assert (group.progress().running, group.progress().retrying) == (1, 0)
        office.admission.release(member, answer.token, gates, "dead", failed=True, run=2)
        assert (group.progress().done, group.progress().dead, group.progress().state) == (3, 1, "completed")

    def test_one_at_a_time_keeps_the_place_of_what_waits_for_its_retry(self, office: Office) -> None:
        group = office.system.emit_group(pages(4), max_parallel=1)
        message = office.granted.pop(0)
        office.end(message, office.begin(message), "retry")
        progress = group.progress()
        assert (office.granted, progress.running, progress.retrying, progress.waiting) == ([], 0, 1, 3)

    @pytest.mark.parametrize("places", [1, 2])
    def test_a_run_of_which_another_copy_is_under_way_asks_again(self, office: Office, places: int) -> None:
        """Under the same number: it is no copy of one that has ended."""
        group = office.system.emit_group(pages(1), max_parallel=places)
        message = office.granted.pop(0)
        office.end(message, office.begin(message), "busy")
        assert group.progress().retrying == 1
        member, gates = message["headers"]["id"], office.gates(message)
        answer = office.admission.acquire(member, 1, gates, LEASE)
        assert isinstance(answer, Go)
        office.end(message, answer.token)
        assert (group.progress().done, group.progress().state) == (1, "completed")

    def test_a_sequence_of_ordered_deliveries_begins_with_the_first(self, redis_url: str, system_name: str) -> None:
        """Each waits for its own key first; none of them overtakes for that."""
        office = Office(redis_url, system_name)
        office.system.bind(Tied, lambda event: None, name="ordered", ordered_by="number")
        office.admission.call(["declare", {"order:ordered": "continue"}])
        group = office.system.emit_group([Tied(number=n) for n in range(50)], max_parallel=1)
        began = []
        while office.granted:
            (message,) = office.granted
            office.granted = []
            number = message["body"][0][0]["data"]["number"]
            gates = [f"order:ordered|{number}", f"group:{group.id}|"]
            headers = message["headers"]
            answer = office.admission.acquire(headers["id"], 1, gates, LEASE, token=headers["events-grant"])
            assert isinstance(answer, Go)
            began.append(number)
            office.admission.release(headers["id"], answer.token, gates, "done", failed=False)
        assert began == list(range(50))
        office.system.close()


@pytest.mark.contract
class TestMemory:
    def test_a_generator_is_never_kept_whole(self, office: Office) -> None:
        """20,000 events, of which no more than a part is here at a time."""
        office.system.emit_group(pages(600), max_parallel=1)
        tracemalloc.start()
        office.system.emit_group(pages(20_000), max_parallel=1)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 8_000_000, f"{peak:,} bytes"
        assert office.client.hlen(office.key("parked:info")) == 20_600


class TestFailing:
    def test_nothing_was_entered(self, office: Office) -> None:
        """An error before the first part is complete leaves nothing behind, and no group."""
        with pytest.raises(EventTooLarge) as caught:
            office.system.emit_group([*pages(3), Page(number=3, text="x" * 300_000)], max_parallel=2)
        assert not hasattr(caught.value, "__notes__")
        assert office.granted == []
        assert office.client.keys(office.key("group*")) == []

    def test_a_part_was_entered(self, office: Office, caplog: pytest.LogCaptureFixture) -> None:
        """It runs; the group is abandoned at once, which the error, the group and the log of one worker say."""

        def failing() -> Iterator[Page]:
            yield from pages(501)
            raise OSError("the file ends here")

        with pytest.raises(OSError, match="the file ends here") as caught:
            office.system.emit_group(failing(), max_parallel=100, on_complete=Bound, name="failing")
        (note,) = caught.value.__notes__
        group = office.system.group(note.split()[2])
        assert note == f"the group {group.id} is abandoned: 500 deliveries have entered it and will run"
        assert (group.progress().state, group.progress().finished) == ("abandoned", False)
        with caplog.at_level(logging.WARNING, "events_worker"):
            office.look_after_groups()
            office.client.zadd(office.key("groups:open"), {group.id: 1})
            office.look_after_groups()
        assert [record.message for record in caplog.records] == [
            f"the group failing ({group.id}) was not emitted to its end: its emitter died or failed after 500 "
            "deliveries, which run; there will be no completion event"
        ]
        assert len(office.settle_all()) == 500
        assert group.wait(0.1).state == "abandoned"
        office.client.zadd(office.key("groups:open"), {group.id: 1})
        office.look_after_groups()
        assert office.completions() == []
        assert 86_000 < office.client.ttl(office.key(f"group:{group.id}")) <= 86_400
        assert office.client.exists(office.key("groups:open"), office.key("parked:info")) == 0

    def test_a_server_that_does_not_answer(self, own_redis_server: Any, system_name: str) -> None:
        office = Office(own_redis_server.url(), system_name, emit_timeout=1.0)

        def stopping() -> Iterator[Page]:
            yield from pages(501)
            own_redis_server.kill()
            yield from pages(500)

        with pytest.raises(EmitError, match="the coordination Redis did not answer") as caught:
            office.system.emit_group(stopping(), max_parallel=1)
        assert len(caught.value.unsent) == 500
        assert "500 deliveries have entered it" in caught.value.__notes__[0]
        office.system.close()

    @pytest.mark.parametrize("more", [0, 500], ids=["before it is sealed", "between two parts"])
    def test_a_redis_that_is_emptied(self, office: Office, more: int) -> None:
        """What had entered is lost: it is said, and the rest does not make a smaller group that seems complete."""

        def emptied() -> Iterator[Page]:
            yield from pages(501)
            office.client.flushdb()
            yield from pages(more)

        with pytest.raises(
            EmitError, match="Redis was emptied: of 500 deliveries that had entered the group"
        ) as caught:
            office.system.emit_group(emptied(), max_parallel=1, on_complete=Bound)
        assert len(caught.value.unsent) in (1, 500)
        assert not hasattr(caught.value, "__notes__")
        assert office.client.keys(office.key("group*")) == []

    def test_what_is_no_collection(self, office: Office) -> None:
        async def asynchronous() -> AsyncIterator[Page]:
            yield Page(number=1)

        for given, told in ((asynchronous(), "no async one: collect its events first"), (None, "not NoneType")):
            with pytest.raises(NotAnEvent, match=told):
                office.system.emit_group(given, max_parallel=1)  # type: ignore[arg-type]

    def test_a_completion_event_that_could_not_be_filled_in(self, office: Office) -> None:
        class Renamed(GroupCompleted, event_type="emission.renamed"):
            total: str = ""  # type: ignore[assignment]

        with pytest.raises(EventDefinitionError, match=r"Renamed: total must stay as GroupCompleted has it"):
            office.system.emit_group(pages(1), max_parallel=1, on_complete=Renamed)
        assert office.client.keys(office.key("group*")) == []

    def test_an_id_that_is_none(self, office: Office) -> None:
        with pytest.raises(TypeError, match=r"group_id=None must be the id of a group"):
            office.system.group(None)  # type: ignore[arg-type]


class TestRepeated:
    """A handler emits a group; its run is repeated."""

    def emit(self, office: Office, cause: Page, number: int, fail_at: int = 10**9) -> tuple[Group, Page]:
        def made() -> Iterator[Page]:
            for count in range(number):
                if count == fail_at:
                    raise OSError("the run ends here")
                yield Page(number=count)

        with handling(*scope_of(cause)):
            return office.system.emit_group(made(), max_parallel=600, on_complete=Bound(title="x")), Page(number=-1)

    def test_after_a_part_of_it(self, office: Office) -> None:
        """What was settled between the runs is not entered again, and what waits is not doubled."""
        cause = Page(number=0)
        with pytest.raises(OSError):
            self.emit(office, cause, 700, fail_at=650)
        (key,) = office.client.keys(office.key("group:0*"))
        first = office.system.group(key.rpartition(":")[2])
        assert (first.progress().total, first.progress().state) == (500, "abandoned")
        office.settle_next(30)
        group, _ = self.emit(office, cause, 700)
        assert group.id == first.id
        assert (group.progress().total, group.progress().done, group.progress().state) == (700, 30, "running")
        while office.granted:
            office.settle_all()
            office.admission.call(["sweep"])
        assert (group.progress().done, group.progress().state) == (700, "completed")
        assert office.client.keys(office.key("group:settled*")) == []

    def test_after_all_of_it(self, office: Office) -> None:
        """Nothing is entered again, and what the handler makes after it has the same ids."""
        cause = Page(number=0)
        group, after = self.emit(office, cause, 20)
        office.settle_next(20)
        again, after_again = self.emit(office, cause, 20)
        assert (again.id, after_again.event_id) == (group.id, after.event_id)
        assert (office.granted, group.progress().total, group.progress().done) == ([], 20, 20)


def test_what_could_not_be_emitted_is_in_its_entity_again(redis_url: str, system_name: str) -> None:
    """Of the events that an entity has handed out; what has entered is safe, and is not."""

    class Basket(Entity):
        pass

    class Taken(DomainEvent, event_type="groups.taken"):
        text: str

    events = EventSystem(system_name, broker_url=redis_url, max_event_bytes=400)
    events.bind(Taken, lambda event: None, name="take")
    basket = Basket()
    for length in (1, 2, 1000):  # the last one is too large
        basket.add_event(Taken(text="x" * length))
    with pytest.raises(EventTooLarge):
        events.emit_group(basket.collect_events(), max_parallel=1)
    assert len(basket.collect_events()) == 3
    events.close()
