"""Exchanges, queues and bindings on RabbitMQ, and what to do when it has other ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import amqp

from events_core.brokers.base import Subscription
from events_core.errors import ConfigurationError
from events_core.publishing.queues import new_queue

#: Milliseconds that a consumer's own queue waits for it to come back.
OWN_QUEUE_EXPIRES = 30_000

Binding = tuple[str, str]


@dataclass(frozen=True)
class Topology:
    """How exchanges and queues are declared. Declaring again what is there changes nothing."""

    alternate_exchange: str | None = None
    quorum: bool = False

    def exchange(self, channel: Any, topic: str) -> None:
        """A durable topic exchange. Raises ConfigurationError where it exists as another one."""
        arguments = {"alternate-exchange": self.alternate_exchange} if self.alternate_exchange else None
        advice = (
            f"delete exchange {topic!r} if nothing else uses it, choose another topic, or give ExchangeBroker the "
            "alternate_exchange= that it was declared with"
        )
        with _explained(f"exchange {topic!r}", advice):
            channel.exchange_declare(topic, "topic", durable=True, auto_delete=False, arguments=arguments)

    def queue(self, channel: Any, name: str, *, lasting: bool = True) -> None:
        """A durable queue. Raises ConfigurationError where it exists as another one."""
        # A consumer's own is neither exclusive nor auto-delete: it outlives a cut connection and a restart for a
        # moment, and nothing that was published meanwhile is missed.
        arguments = new_queue(name, quorum=self.quorum).queue_arguments if lasting else {"x-expires": OWN_QUEUE_EXPIRES}
        advice = f"delete queue {name!r} once it is empty, or declare it as it was (quorum_queues=)"
        with _explained(f"queue {name!r}", advice):
            channel.queue_declare(name, durable=True, exclusive=False, auto_delete=False, arguments=arguments)

    def bind(self, channel: Any, subscription: Subscription) -> None:
        """The subscription's queue, its exchanges and its bindings."""
        for topic in sorted({topic for topic, _ in subscription.bindings}):
            self.exchange(channel, topic)
        self.queue(channel, subscription.queue, lasting=subscription.lasting)
        for topic, routing_key in sorted(subscription.bindings):
            channel.queue_bind(subscription.queue, topic, routing_key)

    def unbind(self, channel: Any, queue: str, bindings: Iterable[Binding]) -> None:
        """Remove bindings; those that are not there are no error."""
        for topic, routing_key in sorted(bindings):
            channel.queue_unbind(queue, topic, routing_key)


@contextmanager
def _explained(what: str, advice: str) -> Iterator[None]:
    try:
        yield
    except amqp.PreconditionFailed as error:
        raise ConfigurationError(f"{what} exists on RabbitMQ with other properties: {error}: {advice}") from error
    except amqp.ResourceLocked as error:
        raise ConfigurationError(f"{what} belongs to another connection to RabbitMQ ({error}): {advice}") from error
    except amqp.AccessRefused as error:
        raise ConfigurationError(
            f"RabbitMQ does not let its user declare {what} ({error}): grant it the permission to configure it"
        ) from error
