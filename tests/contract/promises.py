"""What each broker promises: the one table in which brokers differ.

A field that holds text is a promise that the broker does not make, and the text says why. A case that rests on it is
not collected for that broker: the suite skips nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import pytest

KEPT = ""


@dataclass(frozen=True)
class Promises:
    """What a broker promises beyond what every broker must do. KEPT, or the reason why not."""

    # deliveries
    counts_deliveries: str = KEPT
    """A message that comes again says how often it came in vain, in the header `x-delivery-count`."""
    requeues_in_place: str = KEPT
    """A message given back by a reject comes again before those behind it."""
    returns_in_order: str = KEPT
    """What a closed connection held comes again in its old order, before what is behind it."""
    returns_from_the_dead: str = KEPT
    """What a killed process held comes again within seconds."""
    keeps_on_cancel: str = KEPT
    """A consumer that was cancelled takes nothing any more."""
    reads_in_turn: str = KEPT
    """A consumer of several full queues reads each of them in its turn."""
    acks_from_threads: str = KEPT
    """Any thread may acknowledge what another received."""
    sets_aside: str = KEPT
    """What has been read may be settled without being delivered, by any thread; until then no window counts it."""
    survives_fork: str = KEPT
    """A forked child may publish over the connection object that it inherited."""
    garbage: str = KEPT
    """What is no message of kombu's is delivered with its bytes as they were, and stops nobody."""
    # publishing
    batches: str = KEPT
    """Producer.batch() sends its messages together when it is flushed, and none of them before."""
    # queues
    empty_queues_exist: str = KEPT
    """A declared queue exists while it is empty."""
    deletes_unbound_queues: str = KEPT
    """queue_delete deletes a queue that is bound to no exchange."""
    auto_delete: str = KEPT
    """A queue of auto_delete goes with its last consumer."""
    fanout_is_kept: str = KEPT
    """A queue bound to a fanout exchange keeps what is sent while nobody consumes it."""
    # Redis as a server
    is_redis: str = KEPT
    """It runs on Redis: key prefix, database numbers, unix socket, TLS and protocol version by options."""
    keys_of_its_own: str = KEPT
    """It keeps everything under keys that can be told from those of another transport."""
    verifies_without_options: str = KEPT
    """Its TLS scheme verifies the server's certificate unless told not to."""
    # Celery's workers
    tells_of_stock_leftovers: str = KEPT
    """A worker logs a warning when messages of the stock transport wait under its queues' names."""
    # servers that fail
    survives_restart: str = KEPT
    """A worker goes on by itself after its broker was restarted or killed, and nothing confirmed is lost."""
    survives_flush: str = KEPT
    """A worker goes on by itself after its broker lost all its data."""
    survives_cut_connections: str = KEPT
    """A worker goes on by itself after every connection was cut, and what it runs is acknowledged once it is done."""
    survives_half_open: str = KEPT
    """A worker finds out within seconds that its connection leads nowhere, and makes a new one."""
    survives_read_only: str = KEPT
    """A worker outlives a time in which its broker takes no writes."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) != KEPT and len(getattr(self, field.name).split()) < 3:
                raise ValueError(f"{field.name}: say why it is not promised")


ONLY_REDIS = "RabbitMQ is no Redis"
ONLY_STREAMS = "kombu says nothing of it, and it is not tried here"
OWN_CHAOS = "it holds, and is not tried here: a restart of RabbitMQ takes 6 s"

BROKERS = {
    "stock": Promises(
        counts_deliveries="nothing counts deliveries in a list",
        requeues_in_place="a rejected message is pushed to the end that is read last",
        returns_in_order="what a closed channel held is pushed back one by one: the last comes first",
        returns_from_the_dead="only after the visibility timeout, an hour unless set",
        keeps_on_cancel="a BRPOP that is under way takes one message more, and holds it until the next read",
        sets_aside=ONLY_STREAMS,
        garbage="it raises out of drain_events, and is gone",
        empty_queues_exist="Redis deletes an empty list",
        deletes_unbound_queues="it deletes per binding, so a queue without one stays",
        auto_delete="only for queues of a fanout exchange",
        fanout_is_kept="fanout is Pub/Sub",
        verifies_without_options="kombu turns verification off for rediss:// without options",
        keys_of_its_own="a queue's key is its bare name",
        tells_of_stock_leftovers="those are its own messages",
        survives_restart="a worker that acknowledges late ends with an AttributeError",
        survives_flush=ONLY_STREAMS,
        survives_cut_connections="what runs meanwhile is put back, and runs twice",
        survives_half_open=ONLY_STREAMS,
        survives_read_only=ONLY_STREAMS,
    ),
    "streams": Promises(
        fanout_is_kept="fanout is Pub/Sub, as on stock",
    ),
    "rabbitmq": Promises(
        counts_deliveries="classic queues do not count",
        reads_in_turn="it fills a window that queues share from any of them",
        acks_from_threads="a channel of py-amqp belongs to one thread",
        sets_aside="the window is the server's",
        survives_fork="two processes cannot speak on one AMQP connection",
        batches="AMQP has no pipeline: messages go out as they are published",
        is_redis=ONLY_REDIS,
        keys_of_its_own=ONLY_REDIS,
        verifies_without_options=ONLY_REDIS,
        tells_of_stock_leftovers=ONLY_REDIS,
        survives_restart=OWN_CHAOS,
        survives_flush=ONLY_REDIS,
        survives_cut_connections="what runs meanwhile is delivered again, and runs twice",
        survives_half_open="heartbeats find it, after a minute",
        survives_read_only=ONLY_REDIS,
    ),
}


def promised(*names: str) -> pytest.MarkDecorator:
    """The test runs on each broker that makes all these promises, and is not collected for the others.

    Args:
        names: fields of Promises; none: every broker.
    """
    kinds = [kind for kind, made in BROKERS.items() if all(getattr(made, name) == KEPT for name in names)]
    return pytest.mark.parametrize("broker", kinds, indirect=True)
