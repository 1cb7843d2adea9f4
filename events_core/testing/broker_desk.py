"""What the tests of `broker_contract` work with."""

from __future__ import annotations

import os
import secrets
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from pydantic_core import from_json

from events_core.brokers.base import IntegrationMessage, MessageBroker, Promises, Received, Receiver, Subscription
from events_core.envelope import Envelope
from events_core.events import ECSTEvent, IntegrationEvent, NotificationEvent

#: Seconds that a test waits for what must come.
PATIENCE = 30.0
#: Seconds that it waits for what must not.
_SOON = 0.3


class Opened(NotificationEvent, event_type="contract.account.opened"):
    """One of the events that are published."""

    number: int
    text: str = ""


class Closed(NotificationEvent, event_type="contract.account.closed"):
    """Another one."""

    number: int


class Moved(ECSTEvent, event_type="contract.account.moved"):
    """One of the other kind."""

    number: int


class BrokerServer(Protocol):
    """A server that a broker of yours talks to. Tests use names of their own, so that they can share one."""

    def broker(self) -> MessageBroker:
        """A new broker on it. For one without a server: the same one each time."""
        ...

    def put(self, topic: str, routing_key: str, body: bytes) -> None:
        """Publish bytes as somebody without this library would. Where nothing tells a type, the key is not used."""
        ...


class OwnServer(BrokerServer, Protocol):
    """One that only these tests use."""

    def stop(self) -> None:
        """End it."""
        ...

    def start(self) -> None:
        """Start it again with its data, and wait until it serves."""
        ...


T = TypeVar("T", bound=Callable[..., Any])


def needs(condition: Callable[[Promises], bool]) -> Callable[[T], T]:
    """A test of what not every broker promises."""

    def mark(test: T) -> T:
        test.promised = condition  # type: ignore[attr-defined]  # read by BrokerContract
        return test

    return mark


def needs_server(test: T) -> T:
    """A test that is about processes and servers."""
    test.about_servers = True  # type: ignore[attr-defined]  # read by BrokerContract
    return test


at_least_once = needs(lambda promises: promises.delivery == "at least once")


class Desk:
    """One test's broker, topic and queues."""

    def __init__(self, server: BrokerServer) -> None:
        self.server = server
        self.broker = server.broker()
        self.name = f"contract-{secrets.token_hex(4)}"
        self._receivers: list[Receiver] = []
        self._declared: list[Subscription] = []

    def queue(
        self, *events: type[IntegrationEvent], name: str = "queue", topic: str = "", lasting: bool = True
    ) -> Subscription:
        """A subscription to some events of the test's topic, or of another one whose name begins like it."""
        keys = [f"{event.event_kind}.{event.event_type}" for event in events] or ["#"]
        return Subscription(f"{self.name}.{name}", frozenset((self.name + topic, key) for key in keys), lasting)

    def declare(self, queue: Subscription, obsolete: frozenset[tuple[str, str]] = frozenset()) -> None:
        """Declare it, until the test ends."""
        self.broker.declare(queue, obsolete)
        self._declared.append(queue)

    def receiver(self, queue: Subscription, prefetch: int = 100, broker: MessageBroker | None = None) -> Receiver:
        """A receiver of a declared queue, until the test ends."""
        receiver = (broker or self.broker).receiver(queue, prefetch)
        self._receivers.append(receiver)
        return receiver

    def listen(self, queue: Subscription, prefetch: int = 100) -> Receiver:
        """Declare it if it is to last, and listen."""
        if queue.lasting:
            self.declare(queue)
        receiver = self.receiver(queue, prefetch)
        assert receiver.receive(0) == []
        return receiver

    def messages(self, *events: IntegrationEvent, topic: str = "") -> list[IntegrationMessage]:
        """The events, encoded."""
        return [self.broker.message(event, Envelope.of(event), self.name + topic) for event in events]

    def publish(self, *events: IntegrationEvent, topic: str = "", broker: MessageBroker | None = None) -> None:
        """Publish all of them in one call."""
        (broker or self.broker).publish(self.messages(*events, topic=topic), PATIENCE)

    def take(self, receiver: Receiver, count: int, *, through_errors: bool = False) -> list[Received]:
        """Receive so many, without acknowledging any."""
        found: list[Received] = []
        end = time.monotonic() + PATIENCE
        while len(found) < count:
            assert time.monotonic() < end, f"{len(found)} of {count} came: {self.numbers(found)}"
            try:
                found += receiver.receive(1)
            except OSError:
                if not through_errors:
                    raise
                found.clear()  # they come again
                time.sleep(0.05)  # its server is not there yet
        return found

    def empty(self, receiver: Receiver) -> list[Received]:
        """What comes, while it should not."""
        return receiver.receive(_SOON)

    def numbers(self, messages: list[Received]) -> list[int]:
        """Of the events in them, in the broker's format."""
        return [from_json(self.broker.format.decode(message).data)["number"] for message in messages]

    def close(self) -> None:
        """Leave nothing behind."""
        for receiver in self._receivers:
            receiver.close()
        for queue in self._declared:
            self.broker.delete(queue)
        self.broker.close()


@contextmanager
def child(work: Callable[[], None]) -> Iterator[int]:
    """A forked process that does the work and then waits to be killed. Gives its id once the work is done."""
    done, tell = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            work()
            os.write(tell, b"!")
            signal.pause()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(tell)
    try:
        assert os.read(done, 1), "the child failed; what it printed tells why"
        yield pid
    finally:
        os.close(done)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
