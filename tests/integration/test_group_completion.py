"""The end of groups on a real Redis: their completion events, and cancelling."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from events_core.admission.client import Go, Stale
from events_core.groups import Group
from events_core.scope import handling
from tests.support.office import LEASE, Bound, Office, Page, pages, scope_of


@pytest.fixture
def office(redis_url: str, system_name: str) -> Iterator[Office]:
    made = Office(redis_url, system_name)
    yield made
    made.client.close()
    made.system.close()


class TestCompletion:
    def test_one_event_with_its_figures_and_its_cause(self, office: Office) -> None:
        cause = Page(number=0)
        with handling(*scope_of(cause)):
            group = office.system.emit_group(pages(2), max_parallel=2, on_complete=Bound(title="the book"))
        office.look_after_groups()
        assert office.completions() == []
        office.settle_all()
        office.look_after_groups()
        (envelope,) = office.completions()
        assert envelope["type"] == "office.bound"
        figures = {"group_id": group.id, "total": 2, "done": 2, "dead": 0, "cancelled": 0}
        assert envelope["data"] == {"title": "the book", **figures}
        assert envelope["causation_id"] == envelope["correlation_id"] == str(cause.event_id)
        assert envelope["hops"] == 1
        (headers,) = (message["headers"] for message in office.granted)
        assert (headers["parent_id"], headers["root_id"]) == ("d1", "r1")
        assert headers["events-chain"] == "office.page > office.bound"
        office.look_after_groups()
        assert len(office.completions()) == 1

    def test_a_worker_that_dies_between_emitting_it_and_saying_so(self, office: Office) -> None:
        """The next one emits it again, when the lease is over, under the same id."""
        group = office.system.emit_group(pages(1), max_parallel=1, on_complete=Bound)
        office.settle_all()
        office.look_after_groups()
        (first,) = office.granted
        gates = ["order:deliver|"]
        headers = first["headers"]
        answer = office.admission.acquire(headers["id"], 1, gates, LEASE, token=headers["events-grant"])
        assert isinstance(answer, Go)
        office.admission.release(headers["id"], answer.token, gates, "done", failed=False)
        office.client.zadd(office.key("groups:completed"), {group.id: 1})
        office.look_after_groups()
        assert [message["headers"]["id"] for message in office.granted] == [headers["id"]] * 2
        assert len({envelope["id"] for envelope in office.completions()}) == 1

    def test_it_is_claimed_by_one_for_the_time_of_a_lease(self, office: Office) -> None:
        group = office.system.emit_group(pages(1), max_parallel=1, on_complete=Bound)
        office.settle_all()
        (claimed,) = office.admission.call(["completed", LEASE])
        assert claimed[0] == group.id
        office.look_after_groups()
        assert office.completions() == []  # another worker has it, and may be dead
        office.client.zadd(office.key("groups:completed"), {group.id: 1})
        office.look_after_groups()
        assert len(office.completions()) == 1

    def test_of_a_type_that_this_worker_does_not_know(
        self, office: Office, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It waits for one that does; other groups do not wait for it."""
        strange = office.system.emit_group(pages(1), max_parallel=1, on_complete=Bound(title="strange"))
        known = office.system.emit_group(pages(1), max_parallel=1)
        office.settle_all()
        key = office.key(f"group:{strange.id}")
        text = office.client.hget(key, "completion") or ""
        office.client.hset(key, "completion", text.replace("office.bound", "office.unbound"))
        office.look_after_groups()
        assert "UnknownEventType" in caplog.text
        assert "again in 30 s" in caplog.text
        assert office.client.ttl(office.key(f"group:{known.id}")) > 0
        office.client.hset(key, "completion", text)
        office.client.zadd(office.key("groups:completed"), {strange.id: 1})
        office.look_after_groups()
        assert office.completions()[0]["data"]["title"] == "strange"

    def test_one_instance_for_two_groups(self, office: Office) -> None:
        """Each has a completion event of its own id."""
        template = Bound(title="twice")
        for _ in range(2):
            office.system.emit_group(pages(1), max_parallel=1, on_complete=template)
        office.settle_all()
        office.look_after_groups()
        assert office.client.hlen(office.key("parked:info")) == 2
        ids = {json.loads(text)["headers"]["id"] for text in office.client.hvals(office.key("parked:messages"))}
        assert len(ids) == 2


class TestCancelled:
    def test_while_it_is_being_emitted(self, office: Office) -> None:
        """What comes later is cancelled at once; the group completes when it is sealed."""
        groups: list[Group] = []

        def cancelled() -> Iterator[Page]:
            yield from pages(501)
            (key,) = office.client.zrange(office.key("groups:open"), 0, -1)
            groups.append(office.system.group(str(key)))
            groups[0].cancel()
            assert groups[0].progress().state == "emitting"
            yield from pages(9, first=501)

        group = office.system.emit_group(cancelled(), max_parallel=2)
        progress = group.progress()
        assert (progress.total, progress.cancelled, progress.done, progress.state) == (510, 510, 0, "completed")
        for message in office.granted:  # they were on their way
            headers = message["headers"]
            answer = office.admission.acquire(
                headers["id"], 1, office.gates(message), LEASE, token=headers["events-grant"]
            )
            assert isinstance(answer, Stale)
        assert office.client.exists(office.key("parked:info"), office.key("parked:messages")) == 0

    def test_what_waits_for_its_retry_is_cancelled_when_that_is_due(self, office: Office) -> None:
        group = office.system.emit_group(pages(2), max_parallel=1)
        message = office.granted.pop()
        office.end(message, office.begin(message), "retry")
        group.cancel()
        assert (group.progress().cancelled, group.progress().retrying, group.progress().state) == (1, 1, "running")
        answer = office.admission.acquire(message["headers"]["id"], 2, office.gates(message), LEASE)
        assert isinstance(answer, Stale)
        assert (group.progress().cancelled, group.progress().retrying, group.progress().state) == (2, 0, "completed")

    def test_a_copy_of_what_runs_does_not_cancel_it(self, office: Office) -> None:
        group = office.system.emit_group(pages(2), max_parallel=1)
        message = office.granted.pop()
        token = office.begin(message)
        group.cancel()
        headers = message["headers"]
        office.admission.acquire(headers["id"], 1, office.gates(message), LEASE, token=headers["events-grant"])
        office.end(message, token)
        assert (group.progress().done, group.progress().cancelled) == (1, 1)


def test_a_group_that_nobody_knows(office: Office) -> None:
    for ask in (office.system.group("x").progress, office.system.group("x").cancel, office.system.group("x").wait):
        with pytest.raises(LookupError, match="no group x is known"):
            ask()
