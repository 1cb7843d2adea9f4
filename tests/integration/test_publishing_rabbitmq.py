"""emit on RabbitMQ: confirms, mandatory routing, queues that were changed behind our back, restarts."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import amqp
import pytest

from events_core import DomainEvent, EmitError, EventSystem
from events_core.publishing.queues import queue_declaration
from tests.support import processes
from tests.support.broker_queues import channel, envelopes
from tests.support.proxy import Proxy
from tests.support.servers import RabbitServer
from tests.support.waiting import wait_until


class Happened(DomainEvent, event_type="rabbitmq.happened"):
    number: int = 0


class Other(DomainEvent, event_type="rabbitmq.other"):
    number: int = 0


def handle(event: DomainEvent) -> None: ...


def make(name: str, url: str, **settings: Any) -> EventSystem:
    """Happened goes to the queue `{name}.events`, Other to `{name}.other`."""
    events = EventSystem(name, broker_url=url, **settings)
    events.bind(Happened, handle, name="happened")
    events.bind(Other, handle, name="other", queue=f"{name}.other")
    return events


@pytest.fixture
def events(amqp_url: str, system_name: str) -> Iterator[EventSystem]:
    events = make(system_name, amqp_url)
    yield events
    events.close()


def numbers(url: str, queue: str) -> list[int]:
    return [envelope["data"]["number"] for envelope in envelopes(url, queue)]


def test_a_connection_is_kept_beyond_descriptor_1024(amqp_url: str, system_name: str) -> None:
    """select() refuses such descriptors; a busy web server has them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2048:
        pytest.skip(f"this machine allows {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    port = urlsplit(amqp_url).port
    assert port is not None
    with Proxy(port) as proxy, ExitStack() as files:
        events = make(system_name, amqp_url.replace(f":{port}", f":{proxy.port}"))
        while files.enter_context(open(os.devnull)).fileno() < 1024:
            pass
        for number in range(3):
            events.emit(Happened(number=number))
        assert proxy.served == 1
        events.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert numbers(amqp_url, f"{system_name}.events") == [0, 1, 2]


class TestQueues:
    def test_a_queue_deleted_behind_our_back(self, events: EventSystem, amqp_url: str) -> None:
        """mandatory: the returned message is noticed, the queue declared anew, and emit succeeds."""
        events.emit_many([Happened(number=1), Other(number=1)])
        with channel(amqp_url) as open_channel:
            open_channel.queue_delete(f"{events.name}.events")
        events.emit_many([Happened(number=2), Other(number=2), Happened(number=3)])
        assert numbers(amqp_url, f"{events.name}.events") == [2, 3]
        assert numbers(amqp_url, f"{events.name}.other") == [1, 2]

    def test_deleted_again_and_again(self, events: EventSystem, amqp_url: str) -> None:
        """The memory of what is declared does not go wrong."""
        for number in range(3):
            events.emit(Happened(number=number))
            with channel(amqp_url) as open_channel:
                assert open_channel.queue_delete(f"{events.name}.events") == 1

    def test_a_queue_with_other_arguments(self, events: EventSystem, amqp_url: str) -> None:
        """The error says what is the matter and what to do; nothing was sent; afterwards emit works."""
        with channel(amqp_url) as open_channel:
            open_channel.queue_declare(
                f"{events.name}.events", durable=True, auto_delete=False, arguments={"x-max-length": 5}
            )
        with pytest.raises(EmitError, match=r"other arguments.*delete it once it is empty.*QUORUM") as caught:
            events.emit_many([Happened(), Other()])
        assert (len(caught.value.confirmed), len(caught.value.uncertain), len(caught.value.unsent)) == (0, 0, 2)
        with channel(amqp_url) as open_channel:
            open_channel.queue_delete(f"{events.name}.events")
        events.emit(Happened(number=1))
        assert numbers(amqp_url, f"{events.name}.events") == [1]

    def test_queues_are_durable(self, events: EventSystem, amqp_url: str) -> None:
        """Declared otherwise, RabbitMQ would refuse this declaration."""
        events.emit(Happened())
        with channel(amqp_url) as open_channel:
            assert (
                open_channel.queue_declare(f"{events.name}.events", durable=True, auto_delete=False).message_count == 1
            )


class TestQuorum:
    def test_quorum_queues_by_setting(self, amqp_url: str, system_name: str) -> None:
        """Item 4: the default queue and others are quorum queues, and the worker declares them alike.

        With a delivery limit of our own: RabbitMQ 4's of 20 would drop what was merely prefetched beside crashes.
        """
        events = make(system_name, amqp_url, quorum_queues=True)
        events.emit_many([Happened(number=1), Other(number=1)])
        for queue in (f"{system_name}.events", f"{system_name}.other"):
            declared = queue_declaration(events.celery, queue, quorum=True)
            with channel(amqp_url) as open_channel:
                declared(open_channel).declare()
            for arguments, differs in (({}, "x-queue-type"), ({"x-queue-type": "quorum"}, "x-delivery-limit")):
                with channel(amqp_url) as open_channel:
                    with pytest.raises(amqp.PreconditionFailed, match=differs):
                        open_channel.queue_declare(queue, durable=True, auto_delete=False, arguments=arguments)
            assert numbers(amqp_url, queue) == [1]
        events.close()

    def test_a_classic_queue_under_the_quorum_setting(self, amqp_url: str, system_name: str) -> None:
        """Switching the setting on over existing queues is told, not lost."""
        classic = make(system_name, amqp_url)
        classic.emit(Happened())
        classic.close()
        events = make(system_name, amqp_url, quorum_queues=True)
        with pytest.raises(EmitError, match="EVENTS_QUORUM_QUEUES as it was declared"):
            events.emit(Happened())
        events.close()

    def test_a_worker_serves_quorum_queues(
        self, amqp_url: str, redis_url: str, system_name: str, tmp_path: Path
    ) -> None:
        """emit declares first, the worker after it: a second declaration that differs would end it."""
        (tmp_path / "quorum_app.py").write_text(
            "from pathlib import Path\n"
            "from events_core import DomainEvent, EventSystem\n"
            f"events = EventSystem({system_name!r}, quorum_queues=True, broker_url={amqp_url!r}, "
            f"redis_url={redis_url!r})\n"
            "class Happened(DomainEvent, event_type='rabbitmq.happened'):\n    number: int\n"
            f"@events.handler(Happened, name='happened')\n"
            f"def handle(event): Path({str(tmp_path)!r}, f'done-{{event.number}}').touch()\n"
        )
        events = make(system_name, amqp_url, quorum_queues=True)
        events.emit(Happened(number=1))
        processes.start_worker("quorum_app:events", cwd=tmp_path)
        events.emit(Happened(number=2))
        events.close()
        wait_until(lambda: {f.name for f in tmp_path.glob("done-*")} == {"done-1", "done-2"}, 60, "both handled")


class TestOneServer:
    """Tests on a server of their own, which may be restarted and given policies."""

    def test_a_refusal_is_awaited(self, own_rabbitmq_server: RabbitServer, system_name: str) -> None:
        """Confirms are really awaited: a full queue that rejects is an error, message by message."""
        url = own_rabbitmq_server.url()
        definition = {"max-length": 2, "overflow": "reject-publish"}
        policy = {"pattern": f"^{system_name}.events$", "definition": definition, "apply-to": "queues"}
        own_rabbitmq_server.api("PUT", f"policies/{quote('/', safe='')}/short", policy)
        events = make(system_name, url)
        batch = [Happened(number=1), Other(number=1), Happened(number=2), Happened(number=3), Other(number=2)]
        with pytest.raises(EmitError, match="RabbitMQ refused") as caught:
            events.emit_many(batch)
        error = caught.value
        assert [delivery.handler for delivery in error.confirmed] == ["happened", "other", "happened", "other"]
        assert [delivery.handler for delivery in error.unsent] == ["happened"]
        assert error.uncertain == []
        assert numbers(url, f"{system_name}.events") == [1, 2]
        assert numbers(url, f"{system_name}.other") == [1, 2]
        events.emit(batch[3])
        assert numbers(url, f"{system_name}.events") == [3]
        events.close()

    @pytest.mark.contract
    def test_restarts_and_a_kill(self, own_rabbitmq_server: RabbitServer, system_name: str) -> None:
        """Promise 1: down is an error within the bound; restarts are not noticed; nothing confirmed is lost.

        The restart comes first: RabbitMQ 3.10, killed in its very first life, came back without the durable queue
        that it had just declared in 7 of 140 tries with plain py-amqp, and in none of 54 in a later life.
        """
        url = own_rabbitmq_server.url()
        events = make(system_name, url, emit_timeout=1)
        events.emit(Happened(number=1))
        own_rabbitmq_server.restart()
        events.emit(Happened(number=2))
        own_rabbitmq_server.kill()
        event = Happened(number=3)
        started = time.monotonic()
        with pytest.raises(EmitError) as caught:
            events.emit(event)
        assert time.monotonic() - started < 2
        # uncertain where the server's socket outlived it for a moment
        assert caught.value.confirmed == []
        own_rabbitmq_server.start()
        emission = events.emit(event)
        assert list(emission.deliveries) == caught.value.unsent + caught.value.uncertain
        events.close()
        assert numbers(url, f"{system_name}.events") == [1, 2, 3]


def test_a_vhost_that_is_not_there(amqp_url: str, system_name: str) -> None:
    """RabbitMQ's own words are in the error, at once; nothing was sent."""
    events = make(system_name, urlsplit(amqp_url)._replace(path="/nowhere").geturl(), emit_timeout=60)
    with pytest.raises(EmitError, match=r"cannot be reached: .*nowhere") as caught:
        events.emit(Happened())
    assert len(caught.value.unsent) == 1


def test_closing_what_rabbitmq_has_closed_connects_to_nothing(events: EventSystem, amqp_url: str) -> None:
    """py-amqp connects anew where it is asked for the transport of a connection that has gone; a broker that has gone
    would then refuse, in place of the EmitError, and a place in the pool of connections would be lost.
    """
    events.emit(Happened())
    publisher: Any = events.publisher
    [connection] = publisher._batches._pool._idle
    connection._amqp.collect()  # as py-amqp does when RabbitMQ says goodbye
    connection.close()
    connection.abandon()
    assert connection._amqp._transport is None
