"""emit on real brokers, Redis and RabbitMQ: what arrives, in which order, and what happens when the broker does not."""

from __future__ import annotations

import json
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid5

import pytest
from celery import Celery, signals

from events_core import DomainEvent, EmitError, EventSystem
from events_core.envelope import Envelope
from events_core.publishing import signals as our_signals
from tests.support import processes
from tests.support.broker_queues import envelopes, stock, take_all
from tests.support.ports import free_port
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until

TIMEOUT = 2.0  # EMIT_TIMEOUT in the tests of failures, in seconds
BOUND = TIMEOUT + 5  # promise 1 says 1; here five test processes share two cores


class Happened(DomainEvent, event_type="publishing.happened"):
    number: int = 0
    text: str = ""


def note(event: Happened) -> None: ...
def copy(event: Happened) -> None: ...


def their_charge(order_id: int, currency: str) -> None: ...


def make(name: str, url: str, **settings: Any) -> EventSystem:
    events = EventSystem(name, broker_url=url, **settings)
    events.bind(Happened, note, name=f"{name}.note")
    return events


@pytest.fixture
def events(broker_url: str, system_name: str) -> Iterator[EventSystem]:
    events = make(system_name, broker_url)
    yield events
    events.close()


def numbers(url: str, events: EventSystem) -> list[int]:
    return [envelope["data"]["number"] for envelope in envelopes(url, events.settings.default_queue)]


class TestWire:
    def test_plain_kombu_reads_a_delivery(self, events: EventSystem, broker_url: str) -> None:
        """DESIGN §5: protocol 2 in JSON; nothing of ours is needed to read it, and it survives a restart."""
        event = Happened(number=7, text="é")
        delivery = events.emit(event).deliveries[0]
        (message,) = take_all(broker_url, events.settings.default_queue)
        args, kwargs, embed = message.decode()
        assert args[0]["id"] == str(event.event_id)
        assert args[0]["data"] == {"number": 7, "text": "é"}
        assert kwargs == {}
        assert set(embed) == {"callbacks", "errbacks", "chain", "chord"}
        assert (message.content_type, message.content_encoding) == ("application/json", "utf-8")
        assert message.headers["task"] == delivery.handler
        assert message.headers["id"] == delivery.task_id == str(uuid5(event.event_id, f"{delivery.handler}:0"))
        assert message.properties["correlation_id"] == delivery.task_id
        assert message.properties["delivery_mode"] == 2

    def test_the_payload_is_in_the_body_only(self, events: EventSystem, broker_url: str) -> None:
        """Promise 9: neither headers nor properties hold it."""
        events.emit(Happened(text="sesame"))
        (message,) = take_all(broker_url, events.settings.default_queue)
        assert "sesame" in json.dumps(message.decode())
        assert "sesame" not in repr(message.headers) + repr(message.properties)

    def test_a_plain_celery_worker_runs_deliveries(self, broker_url: str, system_name: str, tmp_path: Path) -> None:
        """A worker without celery-events, with a task of the handler's name, gets the envelope, in order; on Redis
        over kombu's transport, the only one that it knows.
        """
        (tmp_path / "plain_app.py").write_text(
            textwrap.dedent(f"""
            import json
            from celery import Celery
            app = Celery("plain", broker={broker_url!r})
            app.conf.update(task_default_queue={system_name + ".events"!r}, worker_prefetch_multiplier=1)
            @app.task(name={system_name + ".note"!r})
            def note(envelope):
                with open({str(tmp_path / "seen")!r}, "a") as seen:
                    seen.write(json.dumps(envelope) + "\\n")
            @app.task(name="billing.charge")
            def charge(order_id, currency):
                with open({str(tmp_path / "charged")!r}, "a") as charged:
                    charged.write(f"{{order_id}} {{currency}}\\n")
            """)
        )
        events = make(system_name, broker_url, redis_transport="stock")
        existing = Celery("theirs", set_as_current=False)
        existing.conf.task_default_queue = f"{system_name}.events"
        charge = existing.task(name="billing.charge")(their_charge)
        events.bind(Happened, charge, args=lambda event: (event.number, "EUR"))
        events.emit_many([Happened(number=number) for number in range(5)])
        events.close()
        arguments = ["-m", "celery", "-A", "plain_app", "worker", "-P", "solo", "--without-gossip", "--without-mingle"]
        processes.start_python(*arguments, cwd=tmp_path)
        seen, charged = tmp_path / "seen", tmp_path / "charged"
        wait_until(lambda: charged.exists() and len(charged.read_text().splitlines()) == 5, 60, "five charges")
        wait_until(lambda: len(seen.read_text().splitlines()) == 5, 60, "five envelopes")
        assert [json.loads(line)["data"]["number"] for line in seen.read_text().splitlines()] == [0, 1, 2, 3, 4]
        assert charged.read_text().split("\n")[:2] == ["0 EUR", "1 EUR"]


class TestOrderAndNumber:
    def test_order_is_kept_within_and_between_calls(self, events: EventSystem, broker_url: str) -> None:
        """Promise 8, across calls, batches and chunks of 1,000."""
        events.emit(Happened(number=0))
        events.emit_many([Happened(number=number) for number in range(1, 2501)])
        events.emit(Happened(number=2501))
        assert numbers(broker_url, events) == list(range(2502))

    def test_each_handler_has_its_own_delivery_on_its_queue(
        self, events: EventSystem, broker_url: str, system_name: str
    ) -> None:
        """What emit reports is what is on the queues, when it returns and before any worker ever ran."""
        events.bind(Happened, copy, name="copy", queue=f"{system_name}.copies")
        emission = events.emit(Happened(number=1))
        on_queues = {
            queue: [message.headers["id"] for message in take_all(broker_url, queue)]
            for queue in (f"{system_name}.events", f"{system_name}.copies")
        }
        assert on_queues == {delivery.queue: [delivery.task_id] for delivery in emission.deliveries}

    def test_many_threads_emit_at_once(self, events: EventSystem, broker_url: str) -> None:
        """Item 4: thread-safe; every event once, each thread's own in order, more threads than connections."""
        errors: list[BaseException] = []

        def emit(thread: int) -> None:
            try:
                for number in range(20):
                    events.emit(Happened(number=thread * 100 + number))
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=emit, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert errors == []
        arrived = numbers(broker_url, events)
        for thread_number in range(16):
            own = [number for number in arrived if number // 100 == thread_number]
            assert own == [thread_number * 100 + number for number in range(20)]


FORKING = """
    import asyncio, multiprocessing, os, sys, threading
    from events_core import DomainEvent, EventSystem
    events = EventSystem(sys.argv[1], broker_url=sys.argv[2])
    class Happened(DomainEvent, event_type="publishing.forked"):
        who: str
        number: int
    @events.handler(Happened, name="note")
    def note(event): ...
    def some(who):
        for number in range(10):
            events.emit(Happened(who=who, number=number))
        asyncio.run(events.aemit(Happened(who=who, number=10)))
    some("before")  # a connection, and the thread of aemit, exist when we fork
    stop = threading.Event()
    def keep_emitting():
        number = 0
        while not stop.is_set():
            events.emit(Happened(who="thread", number=number))
            number += 1
    thread = threading.Thread(target=keep_emitting)  # connections are in use while we fork
    thread.start()
    children = []
    for child in range(4):
        pid = os.fork()
        if pid == 0:
            some(f"child {child}")
            os._exit(0)
        children.append(pid)
        some(f"parent after {child}")
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 4
    stop.set()
    thread.join()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(some, ["pool 0", "pool 1"])
    some("after")
    print("all emitted")
"""


def test_emitting_goes_on_on_both_sides_of_a_fork(broker_url: str, system_name: str, tmp_path: Path) -> None:
    """Item 4: fork-safe with connections idle and in use (gunicorn preload, prefork, multiprocessing); none lost."""
    script = tmp_path / "forking.py"
    script.write_text(textwrap.dedent(FORKING))
    program = processes.start_python(script, system_name, broker_url)
    assert program.wait(90) == 0, program.log
    arrived: dict[str, list[int]] = {}
    for envelope in envelopes(broker_url, f"{system_name}.events"):
        arrived.setdefault(envelope["data"]["who"], []).append(envelope["data"]["number"])
    from_thread = arrived.pop("thread")
    assert from_thread == list(range(len(from_thread)))
    who = ["before", "after", "pool 0", "pool 1"]
    who += [f"{side} {child}" for side in ("child", "parent after") for child in range(4)]
    assert arrived == {each: list(range(11)) for each in who}


class TestSignals:
    def test_a_receiver_may_add_headers(self, events: EventSystem, broker_url: str) -> None:
        """Item 4: Sentry, Datadog and OpenTelemetry hang here; what they add arrives on the wire."""
        seen: list[dict[str, Any]] = []

        def before(sender: str, body: Any, headers: dict[str, Any], **more: Any) -> None:
            headers["traceparent"] = "00-abc-def-01"
            seen.append({"sender": sender, "body": body, **more})

        def after(sender: str, body: Any, headers: dict[str, Any], **more: Any) -> None:
            seen.append({"after": sender, "id": headers["id"], "body": body})

        signals.before_task_publish.connect(before)
        signals.after_task_publish.connect(after)
        try:
            delivery = events.emit(Happened(number=3)).deliveries[0]
        finally:
            signals.before_task_publish.disconnect(before)
            signals.after_task_publish.disconnect(after)
        first, last = seen
        assert first["sender"] == last["after"] == delivery.handler
        assert first["routing_key"] == delivery.queue
        assert first["properties"]["correlation_id"] == last["id"] == delivery.task_id
        assert first["body"][0][0]["data"]["number"] == last["body"][0][0]["data"]["number"] == 3
        (message,) = take_all(broker_url, delivery.queue)
        assert message.headers["traceparent"] == "00-abc-def-01"

    def test_after_task_publish_means_published(self, system_name: str) -> None:
        """It is not sent for what the broker did not take."""
        told: list[str] = []

        def after(sender: str, **_: Any) -> None:
            told.append(sender)

        events = make(system_name, f"redis://127.0.0.1:{free_port()}", emit_timeout=0.1)
        signals.after_task_publish.connect(after)
        try:
            with pytest.raises(EmitError):
                events.emit(Happened())
        finally:
            signals.after_task_publish.disconnect(after)
        assert told == []

    def test_nothing_is_decoded_for_nobody(
        self, events: EventSystem, broker_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Item 4: without a receiver the signals cost nothing."""

        def refuse(message: Any) -> Any:
            raise AssertionError("a body was decoded although nobody listens")

        monkeypatch.setattr(our_signals, "_decoded", refuse)
        events.emit(Happened(number=1))
        assert numbers(broker_url, events) == [1]


@dataclass
class Proxied:
    """A system whose broker can be made to fail, and the direct address of the broker."""

    events: EventSystem
    proxy: Proxy
    url: str

    def fails(self, event: Happened | list[Happened]) -> EmitError:
        """Emits, and returns the error, which must come within the promised bound."""
        started = time.monotonic()
        with pytest.raises(EmitError) as caught:
            self.events.emit_many(event if isinstance(event, list) else [event])
        assert time.monotonic() - started < BOUND
        return caught.value

    def arrived(self) -> list[int]:
        return numbers(self.url, self.events)


@pytest.fixture
def proxied(broker_url: str, system_name: str) -> Iterator[Proxied]:
    port = urlsplit(broker_url).port
    assert port is not None
    with Proxy(port) as proxy:
        events = make(system_name, broker_url.replace(f":{port}", f":{proxy.port}"), emit_timeout=TIMEOUT)
        yield Proxied(events, proxy, broker_url)
        events.close()


def ids(error: EmitError) -> tuple[int, int, int]:
    return len(error.confirmed), len(error.uncertain), len(error.unsent)


class TestFailures:
    def test_a_broker_that_is_down(self, broker_url: str, system_name: str) -> None:
        """Promise 1: nothing listens; every delivery is unsent, and the error comes within the bound."""
        nowhere = broker_url.replace(f":{urlsplit(broker_url).port}", f":{free_port()}")
        events = make(system_name, nowhere, emit_timeout=TIMEOUT)
        started = time.monotonic()
        with pytest.raises(EmitError, match=r"cannot be reached: .*[Rr]efused") as caught:
            events.emit_many([Happened(), Happened()])
        assert time.monotonic() - started < BOUND
        assert ids(caught.value) == (0, 0, 2)

    def test_a_connection_that_was_cut_while_idle_is_not_noticed(self, proxied: Proxied) -> None:
        """A broker or firewall closes idle connections; the next emit uses a new one."""
        proxied.events.emit(Happened(number=1))
        proxied.proxy.cut()
        proxied.events.emit(Happened(number=2))
        assert proxied.arrived() == [1, 2]

    def test_a_black_hole_on_a_connection_in_use(self, proxied: Proxied) -> None:
        """Promise 1: what was sent and not answered is uncertain; emitting the same object again is safe."""
        proxied.events.emit(Happened(number=1))
        proxied.proxy.blackhole()
        event = Happened(number=2)
        error = proxied.fails(event)
        assert ids(error) == (0, 1, 0)
        assert error.uncertain[0].task_id == str(uuid5(event.event_id, f"{error.uncertain[0].handler}:0"))
        assert proxied.proxy.swallowed > 0
        proxied.proxy.heal()
        emission = proxied.events.emit(event)
        assert list(emission.deliveries) == error.uncertain
        assert proxied.arrived() == [1, 2]

    def test_a_black_hole_from_the_beginning(self, proxied: Proxied) -> None:
        """Promise 1: the TCP connection stands, the broker says nothing; nothing was sent, and a later emit works."""
        proxied.proxy.blackhole()
        assert ids(proxied.fails(Happened(number=1))) == (0, 0, 1)
        assert ids(proxied.fails([Happened(number=2), Happened(number=3)])) == (0, 0, 2)
        proxied.proxy.heal()
        proxied.events.emit(Happened(number=4))
        assert proxied.arrived() == [4]

    def test_a_large_batch_into_a_black_hole(self, proxied: Proxied) -> None:
        """A batch larger than every buffer on the way: sending ends with the deadline too; each delivery is listed."""
        proxied.events.emit(Happened(number=0))
        proxied.proxy.blackhole()
        error = proxied.fails([Happened(number=number, text="x" * 10_000) for number in range(1000)])
        assert sum(ids(error)) == 1000
        assert error.confirmed == []
        assert error.uncertain

    def test_more_threads_than_connections_in_a_black_hole(self, proxied: Proxied) -> None:
        """Promise 1 includes the wait for a free connection."""
        proxied.events.emit(Happened(number=0))
        proxied.proxy.blackhole()
        took: list[float] = []

        def emit() -> None:
            started = time.monotonic()
            with pytest.raises(EmitError):
                proxied.events.emit(Happened())
            took.append(time.monotonic() - started)

        threads = [threading.Thread(target=emit) for _ in range(25)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(took) == 25
        assert max(took) < BOUND
        proxied.proxy.heal()
        proxied.events.emit(Happened(number=1))
        assert proxied.arrived() == [0, 1]

    def test_no_connection_is_leaked_by_failures(self, proxied: Proxied) -> None:
        """As many failures as the pool has places, and more; after them emit still finds one."""
        for _ in range(12):
            proxied.proxy.blackhole()
            with pytest.raises(EmitError):
                proxied.events.emitter.publish(messages_of(proxied.events), 0.05)
            proxied.proxy.heal()
        proxied.events.emit(Happened(number=1))
        assert proxied.arrived()[-1] == 1

    def test_a_wrong_password_is_told_at_once(self, broker_url: str, system_name: str) -> None:
        """No waiting for what will not change; the password is not in the error."""
        password = urlsplit(broker_url).password
        assert password is not None
        events = make(system_name, broker_url.replace(password, "sesame"), emit_timeout=60)
        with pytest.raises(EmitError, match="cannot be reached") as caught:
            events.emit(Happened())
        assert ids(caught.value) == (0, 0, 1)
        assert "sesame" not in str(caught.value)

    def test_closing_is_not_the_end(self, events: EventSystem, broker_url: str) -> None:
        """`close()` lets go of the connections; the system can be used again."""
        events.emit(Happened(number=1))
        events.close()
        events.emit(Happened(number=2))
        assert numbers(broker_url, events) == [1, 2]


def messages_of(events: EventSystem) -> list[Any]:
    event = Happened()
    envelope = Envelope.of(event)
    return events.messages.messages(events.event_map.route(Happened), event, envelope, envelope.to_json(), None)


def test_an_existing_celery_app_keeps_its_settings(broker_url: str, system_name: str) -> None:
    """Item 5: EventSystem(celery=app) changes none of them; only our worker is added to what workers import."""
    app = Celery("theirs", broker=broker_url, set_as_current=False)
    app.conf.update(task_default_queue="theirs", task_serializer="yaml", task_acks_late=False)
    before = {key: value for key, value in dict(app.conf).items() if key != "include"}
    events = EventSystem(system_name, celery=app)
    events.bind(Happened, note, name="note")
    events.emit(Happened(number=1))
    assert {key: value for key, value in dict(app.conf).items() if key != "include"} == before
    assert list(app.conf.include) == ["events_worker.app"]
    assert numbers(stock(broker_url), events) == [1]
    events.close()
