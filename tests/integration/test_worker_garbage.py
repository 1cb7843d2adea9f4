"""What lies on our queue and is no delivery: a dead letter each, and the worker goes on."""

from __future__ import annotations

import base64
import json
import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from events_worker.dead_letters import DeadLetter
from tests.apps import basics
from tests.apps.harness import Rig, rig
from tests.support.processes import Process
from tests.support.waiting import wait_until

TASK = "tests.apps.basics.renamed"


@dataclass
class Under:
    rig: Rig
    worker: Process


# What is decoded where depends on the pool, what garbage can be sent on the broker; other pairs add nothing.
@pytest.fixture(scope="module", params=["redis-prefork", "stock-threads", "rabbitmq-threads", "rabbitmq-prefork"])
def under(request: pytest.FixtureRequest, redis_server: Any, rabbitmq_server: Any) -> Iterator[Under]:
    broker, pool = request.param.split("-")
    settings = {"redis_transport": "stock"} if broker == "stock" else {}
    with rig(basics, broker.replace("stock", "redis"), redis_server, rabbitmq_server, **settings) as made:
        yield Under(made, made.worker(pool, 2))


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


def task_headers(**more: Any) -> dict[str, Any]:
    """The headers of a delivery to a handler that exists."""
    return {"lang": "py", "task": TASK, "id": str(uuid4()), "root_id": None, "parent_id": None, **more}


def buried(under: Under, known: set[str]) -> DeadLetter:
    """The one new dead letter; the worker must have acknowledged its message and go on serving."""
    rig = under.rig

    def look() -> list[DeadLetter]:
        if not under.worker.alive:
            raise RuntimeError(f"the worker ended: {under.worker.log[-2000:]}")
        return [letter for letter in rig.letters() if letter.id not in known]

    new = wait_until(look, 10, "a dead letter")
    assert len(new) == 1, new
    tag = uuid4().hex
    rig.emit(basics.Late(tag=tag))
    rig.wait_for_records(tag, 1)
    rig.wait_for_rest()
    assert under.worker.alive
    return new[0]


GARBAGE = {
    "random bytes": bytes(range(256)),
    "truncated JSON": b'[[{"id": "0198c0de-',
    "no JSON at all": b"hello",
    "valid JSON, no task": b'{"order": 7}',
    "a list": b"[1, 2, 3]",
    "null": b"null",
    "a number": b"7",
    "empty": b"",
    "deep": b"[" * 20_000,
}


@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE)
def test_garbage_without_headers(under: Under, body: bytes) -> None:
    """Bytes that no Celery sent (on Redis: put where messages lie, as they are): kept whole, with the reason."""
    known = {letter.id for letter in under.rig.letters()}
    under.rig.put_raw(body)
    letter = buried(under, known)
    assert letter.reason == "undecodable"
    assert letter.error.startswith("the message is no delivery")
    assert (letter.event_id, letter.handler, letter.starts, letter.queue) == (None, None, 0, under.rig.queue)
    assert letter.raw is not None
    assert base64.b64decode(letter.raw) == body


TASKS = {
    "random bytes": bytes(range(256)),
    "truncated JSON": b'[[{"id": "0198c0de-',
    "valid JSON, no arguments": b'{"order": 7}',
    "no arguments": b"[[], {}, {}]",
    "an envelope that is none": b'[[{"id": 5}], {}, {}]',
    "a body of two": b"[[], {}]",
    "keyword arguments": b'[[], {"self": 1}, {}]',
    "an embed that is none": b"[[], {}, 7]",
    "a number": b"7",
    "empty": b"",
}


@pytest.mark.parametrize("body", TASKS.values(), ids=TASKS)
def test_garbage_that_names_a_handler(under: Under, body: bytes) -> None:
    """A message with the headers of a delivery whose body is none: dead with its reason, under every pool."""
    known = {letter.id for letter in under.rig.letters()}
    under.rig.put_raw(body, headers=task_headers())
    letter = buried(under, known)
    assert letter.reason == "undecodable"
    assert letter.event_id is None


HEADERS: dict[str, dict[str, Any]] = {
    "no id": {"id": None},
    "an id that is a number": {"id": 7},
    "a task that is a list": {"task": ["a", "b"]},
    "a time limit that is none": {"timelimit": 7},
    "an expiry that is none": {"expires": "tomorrow"},
    "an eta that is none": {"eta": "tomorrow"},
    "retries that are none": {"retries": "many"},
    "ours, of wrong types": {"events-attempt": "x", "events-run": [], "events-starts": None, "events-generation": "x"},
    "times that are none": {"events-first-at": "x", "events-held-since": "x"},
}


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS)
def test_headers_that_no_delivery_has(under: Under, headers: dict[str, Any]) -> None:
    """Whatever the headers say, a body that is none is dead and the worker goes on."""
    known = {letter.id for letter in under.rig.letters()}
    under.rig.put_raw(b"[[{}], {}, {}]", headers=task_headers(**headers))
    assert buried(under, known).reason == "undecodable"


UNKNOWN: dict[str, tuple[dict[str, Any], bytes]] = {
    "an id that is no UUID": ({"id": "seven"}, b"[[{}], {}, {}]"),
    "no id": ({"id": None}, b"[[{}], {}, {}]"),
    "a body that is too deep": ({}, b"[" * 20_000),
}


@pytest.mark.parametrize("headers, body", UNKNOWN.values(), ids=UNKNOWN)
def test_garbage_for_a_handler_that_no_one_knows(under: Under, headers: dict[str, Any], body: bytes) -> None:
    """What cannot be held is dead at once, its bytes kept under an id of our own, and its message acknowledged."""
    _is_buried_as_it_is(under, headers, body)


# AMQP headers cannot hold it
@pytest.mark.parametrize("under", ["redis-prefork"], indirect=True)
def test_an_id_that_only_json_can_hold(under: Under) -> None:
    """What no one expected while it was buried holds no slot either."""
    _is_buried_as_it_is(under, {"id": "\ud800"}, b"[[{}], {}, {}]")


def _is_buried_as_it_is(under: Under, headers: dict[str, Any], body: bytes) -> None:
    known = {letter.id for letter in under.rig.letters()}
    under.rig.put_raw(body, headers=task_headers(task="nobody.knows", **headers))
    letter = buried(under, known)
    assert (letter.reason, letter.handler) == ("undecodable", "nobody.knows")
    assert letter.raw is not None
    assert base64.b64decode(letter.raw) == body


@pytest.mark.parametrize("named", [False, True], ids=["no task", "names a handler"])
@pytest.mark.parametrize("content_type", ["application/x-python-serialize", "pickle"])
def test_a_pickle_is_never_unpickled(under: Under, tmp_path: Path, content_type: str, named: bool) -> None:
    """The pickle would make a directory: it does not, and is a dead letter that holds its bytes."""
    known = {letter.id for letter in under.rig.letters()}
    body = pickle.dumps(([Bomb(tmp_path / "made")], {}, {}))
    headers = task_headers() if named else {}
    under.rig.put_raw(body, content_type=content_type, content_encoding="binary", headers=headers)
    letter = buried(under, known)
    assert letter.reason == "undecodable"
    assert not (tmp_path / "made").exists()
    assert letter.raw is not None
    assert base64.b64decode(letter.raw) == body


def test_data_that_does_not_fit_the_event_is_dead_without_its_values(under: Under) -> None:
    """An envelope whose data the event class refuses: dead at once, the letter names the field, not its value."""
    known = {letter.id for letter in under.rig.letters()}
    envelope = {
        "id": str(uuid4()), "type": "basics.happened", "version": 1, "kind": "domain_event",
        "occurred_at": "2026-01-01T00:00:00+00:00", "correlation_id": "c", "causation_id": None, "hops": 0,
        "data": {"tag": "x", "number": "hunter2"},
    }  # fmt: skip
    body = json.dumps([[envelope], {}, {}]).encode()
    under.rig.put_raw(body, headers=task_headers(task="tests.apps.basics.sync_one"))
    letter = buried(under, known)
    assert (letter.reason, letter.event_id, letter.event_type) == ("undecodable", envelope["id"], "basics.happened")
    assert "number" in letter.error
    assert "hunter2" not in letter.error + letter.traceback
    assert "hunter2" not in under.worker.log
