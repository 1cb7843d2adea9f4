"""`emit` and Django's transactions: sent after the commit, forgotten with the rollback."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.django_project import Project

pytestmark = pytest.mark.apps


@pytest.fixture
def project(tmp_path: Path, redis_url: str, system_name: str) -> Project:
    return Project.at(tmp_path, redis_url, system_name)


def test_it_is_sent_after_the_outermost_commit(project: Project) -> None:
    project.run("""
tables()
with transaction.atomic():
    with transaction.atomic():
        emission = events.emit(Placed(number=1))
        assert len(emission.deliveries) == 1
    events.emit_many([Placed(number=2), Placed(number=3)])
    assert sent() == 0
assert sent() == 3
events.emit(Placed(number=4))
assert sent() == 4
""")


def test_a_rollback_forgets_it_and_that_of_a_savepoint_what_is_in_the_savepoint(project: Project) -> None:
    project.run("""
tables()
class Oops(Exception): ...
try:
    with transaction.atomic():
        events.emit(Placed(number=1))
        raise Oops
except Oops: ...
assert sent() == 0
with transaction.atomic():
    events.emit(Placed(number=2))
    try:
        with transaction.atomic():
            events.emit(Placed(number=3))
            raise Oops
    except Oops: ...
    events.emit(Placed(number=4))
assert sent() == 2
""")


def test_a_rollback_within_a_hold_block_forgets_it_too(project: Project) -> None:
    """Also that of a savepoint; what was committed in the block goes out at its end, in order."""
    project.run("""
tables()
class Oops(Exception): ...
def fail(number):
    try:
        with transaction.atomic():
            events.emit(Placed(number=number))
            raise Oops
    except Oops: ...
with events.hold():
    fail(1)
    with transaction.atomic():
        events.emit(Placed(number=2))
        fail(3)
    events.emit(Placed(number=4))
assert sent() == 2
with transaction.atomic():
    with events.hold():
        events.emit(Placed(number=5))
        fail(6)
    assert sent() == 2
assert sent() == 3
""")


def test_a_rollback_that_a_handler_catches_forgets_what_was_emitted_in_it(project: Project) -> None:
    """By the worker's own execution, run inline."""
    project.run("""
tables()
from events_core.testing import capture
class Oops(Exception): ...
class Batch(Placed, event_type="batch.placed"): ...
def import_all(event):
    for number in (1, 2):
        try:
            with transaction.atomic():
                events.emit(Placed(number=number))
                if number == 2: raise Oops
        except Oops: ...
events.bind(Batch, import_all, name="import_all")
with capture(events) as captured:
    captured.handle("import_all", Batch(number=0))
assert [event.number for event in captured.emitted] == [1], captured.emitted
""")


def test_the_same_event_emitted_again_after_a_rollback_goes_out(project: Project) -> None:
    """As a loop does that tries a transaction again after a deadlock."""
    project.run("""
tables()
event = Placed(number=1)
with events.hold():
    for attempt in range(2):
        try:
            with transaction.atomic():
                events.emit(event)
                if attempt == 0: raise KeyError
        except KeyError: ...
assert sent() == 1
""")


def test_a_callback_of_somebody_else_that_fails_is_no_rollback(project: Project) -> None:
    """Django forgets the callbacks behind it; what was emitted is committed all the same."""
    project.run("""
tables()
def fail(): raise ConnectionError
with events.hold():
    try:
        with transaction.atomic():
            transaction.on_commit(fail)
            events.emit(Placed(number=1))
    except ConnectionError: ...
assert sent() == 1
""")


def test_now_does_not_wait(project: Project) -> None:
    project.run("""
with transaction.atomic():
    events.emit(Placed(number=1), now=True)
    assert sent() == 1
""")


def test_hold_within_a_transaction_waits_for_the_commit(project: Project) -> None:
    """The block ends before the commit."""
    project.run("""
class Oops(Exception): ...
with transaction.atomic():
    with events.hold():
        events.emit(Placed(number=1))
    assert sent() == 0
assert sent() == 1
try:
    with transaction.atomic():
        with events.hold():
            events.emit(Placed(number=1))
        raise Oops
except Oops: ...
assert sent() == 1
with events.hold():
    with transaction.atomic():
        events.emit(Placed(number=1))
    assert sent() == 1
assert sent() == 2
""")


def test_without_autocommit_it_is_a_plain_error(project: Project) -> None:
    """Django could not tell when the transaction ends: neither sent early nor held for ever."""
    project.run("""
from django.db.transaction import TransactionManagementError

def refused():
    try:
        events.emit(Placed(number=1))
    except TransactionManagementError as error:
        assert "now=True" in str(error) and "'default'" in str(error), error
        return sent() == 0
transaction.set_autocommit(False)
assert refused()
with transaction.atomic():
    assert refused()
transaction.rollback()
transaction.set_autocommit(True)
events.emit(Placed(number=1))
assert sent() == 1
""")


def test_a_database_without_autocommit_is_refused_before_it_is_connected(
    tmp_path: Path, redis_url: str, system_name: str
) -> None:
    settings = "DATABASES['default']['AUTOCOMMIT'] = False"
    Project.at(tmp_path, redis_url, system_name, settings=settings).run("""
from django.db.transaction import TransactionManagementError

try:
    events.emit(Placed(number=1))
    sys.exit("it was sent")
except TransactionManagementError: ...
assert connection.connection is None
""")


@pytest.mark.parametrize(("database", "default", "other"), [("'default'", 0, 1), ("'other'", 1, 0), ("None", 1, 1)])
def test_it_waits_for_the_database_that_is_named(
    tmp_path: Path, redis_url: str, system_name: str, database: str, default: int, other: int
) -> None:
    """What is sent within a transaction of each of the two."""
    project = Project.at(tmp_path, redis_url, system_name, settings=f"EVENTS['DATABASE'] = {database}")
    project.run(f"""
with transaction.atomic("default"):
    events.emit(Placed(number=1))
    assert sent() == {default}
assert sent() == 1
with transaction.atomic("other"):
    events.emit(Placed(number=2))
    assert sent() == 1 + {other}
assert sent() == 2
""")


def test_a_group_cannot_wait(project: Project) -> None:
    project.run("""
from events_core.errors import EmitMisused

with transaction.atomic():
    try:
        events.emit_group([Placed(number=1)], max_parallel=1)
        sys.exit("it was emitted")
    except EmitMisused as error:
        assert "on_commit" in str(error)
    transaction.on_commit(lambda: events.emit_group([Placed(number=1)], max_parallel=1))
assert sent() == 0
assert events.turns is not None
""")


def test_emit_opens_no_connection_to_the_database(project: Project) -> None:
    """Nor does it ask an open one anything."""
    project.run("""
from django.test.utils import CaptureQueriesContext

events.emit(Placed(number=1))
assert connection.connection is None
with CaptureQueriesContext(connection) as queries:
    events.emit(Placed(number=1))
assert not queries.captured_queries
""")


def test_what_cannot_be_sent_after_the_commit_is_said_and_raised(project: Project) -> None:
    """The caller sees the first failure; the log names each event, those behind it too, and never a payload."""
    printed = project.run("""
import logging
from events_core import EmitError

tables()
logging.basicConfig(stream=sys.stdout, format="%(name)s %(levelname)s %(message)s")
events.emit(Placed(number=0))
events.close()
def fail(*_): raise EmitError("the broker is away")
events.emitter.publish = fail
ours = [Confirmed(number=n, token="hush") for n in range(4)]
class Oops(Exception): ...
try:
    with transaction.atomic():
        Order.objects.create(number=1)
        events.emit(ours[0])
        try:
            with transaction.atomic():
                events.emit(ours[1])
                raise Oops
        except Oops: ...
        events.emit(ours[2])
        transaction.on_commit(lambda: print("another callback"))
        events.emit(ours[3])
    sys.exit("nothing was raised")
except EmitError: ...
assert Order.objects.count() == 1
print(*(event.event_id for event in ours))
""")
    *lines, ids = printed.splitlines()
    lost = [line for line in lines if "not sent" in line]
    assert [line.rsplit(" ", 1)[1] for line in lost] == [ids.split()[n] for n in (0, 2, 3)]
    assert all(line.startswith("events_core.contrib.django.transactions ERROR") for line in lost)
    assert "django.order.confirmed" in lost[0]
    assert "hush" not in printed


def test_async_code_has_no_transaction_of_its_own(project: Project) -> None:
    """Django's transactions belong to a thread: `aemit` on the loop sends at once; a function that has one emits in it.

    A coroutine runs in another thread than the sync code that calls it, and so outside of that one's transaction.
    """
    project.run("""
import asyncio
from asgiref.sync import async_to_sync, sync_to_async

@transaction.atomic
def place():
    events.emit(Placed(number=1))
    return sent()

async def view():
    await events.aemit(Placed(number=2))
    assert await sync_to_async(sent)() == 1
    assert await sync_to_async(place)() == 1
    assert await sync_to_async(sent)() == 2
asyncio.run(view())
with transaction.atomic():
    async_to_sync(events.aemit)(Placed(number=3))
    assert sent() == 3
""")


def test_in_a_test_case_callbacks_are_called_by_hand(project: Project) -> None:
    """Django's TestCase is one transaction that is rolled back."""
    project.run("""
from django.test import TestCase
from django.test.utils import get_runner
from django.conf import settings
import unittest

class Test(TestCase):
    databases = ["default"]

    def test(self):
        events.emit(Placed(number=1))
        assert sent() == 0
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            events.emit(Placed(number=2))
        assert len(callbacks) == 1
        assert sent() == 1
tables()
result = unittest.TextTestRunner().run(unittest.defaultTestLoader.loadTestsFromTestCase(Test))
assert result.wasSuccessful() and result.testsRun == 1
""")
