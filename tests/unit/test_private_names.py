"""The canary: every name of Celery, kombu, redis-py, amqp and Flower that we use and they do not promise to keep.

A new minor version of one of them is allowed in pyproject.toml once this, the contract suite and the chaos tests pass
on it (CONTRIBUTING.md).
"""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest

from tests.support import foreign
from tests.support.processes import ROOT


class Name(NamedTuple):
    """A name that may go or change without notice. shape: the parameters of a function that we call or override."""

    owner: str
    files: tuple[str, ...]
    name: str
    shape: str
    breaks: str

    def __str__(self) -> str:
        return f"{self.owner}.{self.name}"

    @property
    def used_in(self) -> list[str]:
        """Those of the files that have it."""
        return [file for file in self.files if re.search(rf"\b{self.name}\b", (ROOT / file).read_text())]


def of(owner: str, files: str | tuple[str, ...], *names: tuple[str, str, str]) -> list[Name]:
    """Names of one module (``kombu.transport``) or class (``kombu.message:Message``), used in one or more files."""
    return [Name(owner, (files,) if isinstance(files, str) else files, *name) for name in names]


BROKER = "events_core/transport/"
STOCK = f"{BROKER}stock.py"
STREAMS = tuple(f"{BROKER}{name}.py" for name in ("channel", "delivering", "poller", "qos", "reading", "streams"))
BOTH = (*STREAMS, STOCK)
TASKS = "events_worker/tasks/__init__.py"
STRATEGY = "events_worker/tasks/strategy.py"
ARRIVING = "events_worker/tasks/arriving.py"
HOST = "events_worker/tasks/pool_host.py"
REQUESTS = "events_worker/tasks/requests.py"
TELLING = "events_worker/tasks/telling.py"
INTAKE = "events_worker/intake.py"
AMQP = (
    *(f"events_core/publishing/{name}.py" for name in ("amqp_connection", "confirms")),
    *(f"events_core/brokers/exchange/{name}.py" for name in ("amqp_deliveries", "amqp_receiver")),
)
EXCHANGES = tuple(
    f"events_core/brokers/exchange/{name}.py" for name in ("kombu", "redis", "redis_bindings", "redis_receiver")
)

PRIVATE = [
    # pydantic's generator of JSON Schema, which is meant to be subclassed
    *of(
        "pydantic.json_schema:GenerateJsonSchema",
        "events_core/describing/json_schema.py",
        ("_config", "", "a field that may be infinite is described as a number only, and `events schema` is wrong"),
    ),
    # kombu's Redis transport, on which ours stand
    *of("kombu.transport", f"{BROKER}__init__.py", ("TRANSPORT_ALIASES", "", "our URL schemes are unknown")),
    *of("kombu.transport", BOTH, ("redis", "", "there is no transport to build on"), ("virtual", "", "as redis")),
    *of("kombu.utils.scheduling", STREAMS, ("round_robin_cycle", "", "a full queue starves the others")),
    *of(
        "kombu.transport.redis:Channel",
        BOTH,
        ("_connparams", "(asynchronous)", "a restart of Redis ends a worker that acknowledges late"),
        ("_brpop_read", "(**options)", "nothing is read from streams; on stock random bytes end the worker"),
        ("_in_poll", "", "the worker reads only once, or twice at a time"),
        ("_queue_cycle", "", "a full queue starves the others"),
        ("_flush_brpop_reauth", "()", "credentials that were renewed are not used"),
        ("decode_body", "(body, encoding)", "a body that cannot be read is not found before it is delivered"),
        ("client", "", "nothing can be read"),
        ("sep", "", "the queue of a message with a priority is not known"),
    ),
    *of(
        "kombu.transport.redis:Channel",
        STREAMS,
        # reading
        ("_brpop_start", "(timeout)", "nothing is read"),
        ("_brpop_sent_at", "", "the loop takes a read that waits for a connection that hangs, or the reverse"),
        ("brpop_timeout", "", "a blocking read waits for longer than the loop expects"),
        ("_get", "(queue)", "basic_get finds nothing"),
        ("basic_get", "(queue, no_ack, **kwargs)", "what basic_get takes unacknowledged stays in Redis"),
        ("_q_for_pri", "(queue, pri)", "messages lie under the keys of kombu's lists"),
        ("priority_steps", "", "priorities are not known"),
        ("from_transport_options", "", "claim_after cannot be set"),
        ("socket_timeout", "", "a network that swallows packets is never found out"),
        ("socket_connect_timeout", "", "as socket_timeout"),
        ("_get_pool", "(asynchronous)", "a process cannot say that it is alive: what it holds is given to others"),
        ("pool", "", "queues cannot be looked at"),
        ("_on_connection_disconnect", "(connection)", "what a broken connection was sent is never given back"),
        # consuming
        ("QoS", "", "messages are recorded in a second place, and never acknowledged in the stream"),
        ("_qos", "", "a channel that only publishes counts as a worker"),
        ("basic_consume", "(queue, *args, **kwargs)", "what dead workers hold is never recovered"),
        ("_basic_cancel", "(consumer_tag)", "a cancelled consumer takes one more message and keeps it"),
        ("active_queues", "", "nothing is read"),
        ("_fanout_queues", "", "broadcasts are taken for streams"),
        ("auto_delete_queues", "", "reply queues stay in Redis"),
        ("_tag_to_queue", "", "as auto_delete_queues"),
        ("_expires", "", "expiring queues do not expire"),
        ("_consumers", "", "what a closed channel held comes back only after claim_after"),
        ("close", "()", "as _consumers"),
        ("_closing", "", "a read that ends with its channel is logged as an error"),
        # publishing and queues
        ("_put", "(queue, message, **kwargs)", "messages are pushed to lists, which no worker of streams reads"),
        ("_get_message_priority", "(message, reverse)", "priorities are not known"),
        ("_queue_bind", "(exchange, routing_key, pattern, queue)", "nobody can start on a full Redis to drain it"),
        ("_size", "(queue)", "queue lengths are wrong in `events status`, Flower and message_count"),
        ("_purge", "(queue)", "a purge empties lists, not streams"),
        ("_has_queue", "(queue, **kwargs)", "queues of streams count as never declared"),
        ("queue_delete", "(queue, if_unused, if_empty, **kwargs)", "a deleted queue stays in Redis"),
        # connecting
        ("connection_class", "", "rediss-streams:// may speak without TLS"),
        ("connection_class_ssl", "", "as connection_class"),
        ("global_keyprefix", "", "applications that share a database read each other's messages"),
    ),
    *of(
        "kombu.transport.redis:PublishBatch",
        STREAMS,
        ("_publish_batch", "", "Producer.batch() sends each message alone"),
        ("add", "(name, *args)", "Producer.batch() fails"),
    ),
    *of(
        "kombu.transport.redis:SentinelChannel",
        STREAMS,
        ("_sentinel_managed_pool", "(asynchronous)", "sentinel-streams:// tries the first sentinel only"),
    ),
    *of(
        "kombu.transport.virtual:QoS",
        STREAMS,
        ("ack", "(delivery_tag)", "messages are never acknowledged in the stream"),
        ("reject", "(delivery_tag, requeue)", "a message that is given back is pushed to a list"),
        ("_delivered", "", "a live worker's messages are given to others while it holds them"),
        ("_dirty", "", "as _delivered"),
        ("_quick_ack", "", "the prefetch window fills up, and the worker stops"),
        ("_flush", "()", "as _delivered"),
        ("_on_collect", "", "what a channel held is pushed to a list when it is collected"),
        ("restore_at_shutdown", "", "as _on_collect"),
        ("restore_unacked", "()", "as _on_collect"),
        ("restore_unacked_once", "(stderr)", "as _on_collect"),
        ("restore_visible", "(*args, **kwargs)", "the loop looks for stock's messages again and again"),
        ("can_consume", "()", "the prefetch window is not kept"),
        ("can_consume_max_estimate", "()", "as can_consume"),
    ),
    *of(
        "kombu.transport.redis:MultiChannelPoller",
        STREAMS,
        ("_channels", "", "nothing is read"),
        ("_fd_to_chan", "", "nothing is read"),
        ("_register_BRPOP", "(channel)", "nothing is read"),
        ("_register_LISTEN", "(channel)", "`celery inspect` and control are not heard"),
        ("on_poll_start", "()", "acknowledgements are not sent, and nothing is asked for"),
        ("on_readable", "(fileno)", "nothing is read"),
        ("get", "(callback, timeout)", "drain_events waits although messages are there"),
        ("close", "()", "descriptors are left with each new connection"),
    ),
    *of(
        "kombu.transport.redis:Transport",
        BOTH,
        ("Channel", "", "kombu's own channel is used"),
        ("_deliver", "(message, queue)", "what was read is not handed to the worker"),
    ),
    *of(
        "kombu.transport.redis:Transport",
        STREAMS,
        ("_callbacks", "", "a message of a queue that is not consumed any more is lost"),
        ("cycle", "", "kombu's own poller is used: each message is one read"),
        ("register_with_event_loop", "(connection, loop)", "as cycle"),
        ("connection_errors", "", "a Redis that has become a replica ends the worker"),
        ("default_port", "", "a URL of sentinels without a port leads to the port of a Redis"),
    ),
    # Publishing
    *of(
        "redis:Connection",
        "events_core/publishing/redis_pipeline.py",
        ("_sock", "", "an emit has no deadline: each wait would be as long as the connection's own timeout"),
        ("pack_commands", "(commands)", "the commands of one emit do not leave together"),
        ("send_packed_command", "(command, check_health)", "nothing is sent"),
        ("can_read", "(timeout)", "a connection that Redis has closed is taken for a good one"),
    ),
    *of(
        "redis:Connection",
        "events_core/admission/wire.py",
        ("can_read", "(timeout)", "an answer that is about to come is waited for asleep"),
        ("read_response", "", "no limited delivery is admitted"),
    ),
    *of(
        "redis:Connection",
        "events_core/redis_connection.py",
        ("can_read", "(timeout)", "a connection that Redis has closed is taken for a good one"),
        ("send_packed_command", "(command, check_health)", "nothing is acknowledged, no limited delivery is admitted"),
        ("read_response", "", "as send_packed_command"),
    ),
    *of(
        "redis:ConnectionPool",
        "events_core/redis_connection.py",
        ("make_connection", "()", "as send_packed_command"),
    ),
    *of(
        "redis:ConnectionPool",
        ("events_core/publishing/redis_pipeline.py", "events_core/brokers/redis_wire.py"),
        ("make_connection", "()", "URL and TLS options do not become a connection"),
    ),
    *of(
        "redis:Connection",
        "events_core/brokers/redis_wire.py",
        ("_sock", "", "waiting for a message of Redis streams or Pub/Sub cannot be ended by waking the receiver"),
        ("can_read", "(timeout)", "a message that is there already is not seen until the next one comes"),
        ("pack_commands", "(commands)", "nothing is read from Redis streams or Pub/Sub"),
        ("send_packed_command", "(command, check_health)", "nothing is read from Redis streams or Pub/Sub"),
        ("read_response", "", "nothing is read from Redis streams or Pub/Sub"),
    ),
    *of(
        "amqp.transport:_AbstractTransport",
        AMQP,
        ("sock", "", "an emit has no deadline, and a forked child closes its parent's connection"),
        ("having_timeout", "(timeout)", "nothing is read from RabbitMQ within a deadline"),
    ),
    *of(
        "amqp:Connection",
        AMQP,
        ("transport", "", "as its sock"),
        ("blocking_read", "(timeout)", "reading from RabbitMQ takes three calls of the kernel for each frame"),
        ("on_inbound_frame", "", "what RabbitMQ sends is not handled"),
        ("bytes_recv", "", "a busy receiver thinks that RabbitMQ is dead"),
        ("heartbeat_tick", "(rate)", "a dead RabbitMQ is not noticed"),
        ("collect", "()", "connections that are lost stay open"),
    ),
    *of(
        "amqp:Channel",
        AMQP,
        ("events", "", "confirms and returned messages are not seen: every emit fails"),
    ),
    *of(
        "amqp.method_framing",
        AMQP,
        ("frame_handler", "(connection, callback, unpack_from, content_methods)", "nothing but deliveries is heard"),
    ),
    *of(
        "amqp.serialization",
        AMQP,
        ("decode_properties_basic", "(buf, offset)", "integration events from RabbitMQ have no properties"),
    ),
    *of("kombu.transport", AMQP, ("pyamqp", "", "there is no connection to RabbitMQ")),
    *of(
        "kombu.transport.pyamqp:Transport",
        AMQP,
        ("establish_connection", "()", "the publisher has no connection of its own to confirm on"),
        ("Connection", "", "reading from RabbitMQ is slow, and garbage ends its receivers"),
    ),
    # Integration events over kombu's Redis bindings, our own transport without an event loop, and other transports
    *of("kombu.transport", EXCHANGES, ("redis", "", "nobody knows where bindings lie"), ("virtual", "", "as redis")),
    *of(
        "kombu.transport.redis:Channel",
        EXCHANGES,
        ("sep", "", "bindings of others are not understood, nor ours by them"),
        ("keyprefix_queue", "", "as sep"),
        ("keyprefix_binding_permanent", "", "lasting queues are taken for those that go with their consumer"),
        ("priority_steps", "", "a deleted queue leaves its urgent messages"),
        ("Message", "", "integration events from Redis are unpacked twice"),
    ),
    *of(
        "kombu.transport.redis:MultiChannelPoller",
        EXCHANGES,
        ("on_poll_start", "()", "receivers of integration events read nothing"),
        ("handle_event", "(fileno, event)", "as on_poll_start"),
        ("poller", "", "a receiver that waits cannot be woken"),
        ("maybe_check_brpop_health", "()", "a silent line to Redis is not noticed"),
    ),
    *of(
        "kombu.transport.virtual.exchange",
        EXCHANGES,
        ("TopicExchange", "", "bindings on Redis match otherwise than kombu's"),
    ),
    *of(
        "kombu.transport.virtual.exchange:TopicExchange",
        EXCHANGES,
        ("key_to_pattern", "(rkey)", "as TopicExchange"),
    ),
    *of("kombu.utils.eventio", EXCHANGES, ("READ", "", "a receiver that waits cannot be woken")),
    *of(
        "kombu.transport.virtual:Channel",
        EXCHANGES,
        ("get_table", "(exchange)", "unroutable events on other transports are not told of"),
        ("typeof", "(exchange, default)", "as get_table"),
    ),
    *of(
        "kombu:Connection",
        "events_core/publishing/connect.py",
        ("alt", "", "a list of brokers is not refused, and emit tries the first only"),
        ("ssl", "", "broker_use_ssl is not used by emit"),
    ),
    *of(
        "celery.app.routes:Router",
        "events_core/publishing/messages.py",
        ("route", "(options, name, args, kwargs, task_type)", "deliveries to existing tasks miss task_routes"),
    ),
    *of("celery:Celery", "events_core/celery_app.py", ("configured", "", "an app's configuration is loaded too early")),
    # The worker
    *of(
        "celery.app.amqp:Queues",
        "events_worker/app.py",
        ("select_add", "(queue, **kwargs)", "a worker without -Q does not take the queues of handlers"),
    ),
    *of("celery:Celery", "events_worker/app.py", ("steps", "", "no clock runs: retries are never sent")),
    *of("celery.worker.components", "events_worker/app.py", ("Pool", "", "the clock starts before or without a pool")),
    *of("celery.worker.consumer.tasks", INTAKE, ("Tasks", "", "our callbacks are overwritten by Celery's")),
    *of(
        "celery.worker.consumer:Consumer",
        INTAKE,
        ("strategies", "", "a task name that is a list ends the worker"),
        ("on_unknown_task", "(body, message, exc)", "a delivery that no handler here knows is lost"),
        ("on_unknown_message", "(body, message)", "a message that is no task is lost"),
        ("on_invalid_task", "(body, message, exc)", "a message that is no delivery is lost"),
        ("on_decode_error", "(message, exc)", "a body that cannot be decoded is lost"),
        ("call_soon", "(p, *args, **kwargs)", "a message is acknowledged from a thread that must not do so"),
    ),
    *of(
        "kombu.message:Message",
        INTAKE,
        ("ack_log_error", "(logger, errors, multiple)", "a connection lost at the wrong time ends the worker"),
    ),
    *of(
        "kombu.message:Message",
        "events_worker/tasks/opening.py",
        ("_decoded_cache", "", "kombu decodes the body again, and turns objects of a payload into dates"),
    ),
    *of(
        "kombu.message:Message",
        STRATEGY,
        ("ack_log_error", "(logger, errors, multiple)", "under -P solo each acknowledgement waits for 100 ms"),
        ("reject_log_error", "(logger, errors, requeue)", "under -P solo each rejection waits for 100 ms"),
    ),
    *of(
        "celery.worker.consumer:Consumer",
        HOST,
        ("task_buckets", "", "a rate limit of Celery's own is not kept"),
        ("pool", "", "a process takes over more than it can run"),
        ("initial_prefetch_count", "", "as pool"),
        ("task_consumer", "", "a process runs deliveries of queues that it was told not to take"),
    ),
    *of("celery.worker", HOST, ("state", "", "as pool")),
    *of("celery.worker.state", HOST, ("reserved_requests", "", "as pool")),
    *of("kombu.messaging:Consumer", HOST, ("consuming_from", "(queue)", "as task_consumer")),
    *of("celery.concurrency.solo", STRATEGY, ("TaskPool", "", "as ack_log_error")),
    *of("celery.concurrency.thread", STRATEGY, ("TaskPool", "", "a burst for a limited handler takes all slots first")),
    *of(
        "celery.worker.consumer:Consumer",
        ARRIVING,
        ("call_soon", "(p, *args, **kwargs)", "a delivery that was not parked is run by a thread that must not do so"),
        ("on_invalid_task", "(body, message, exc)", "one of them that is no delivery is lost"),
        ("event_dispatcher", "", "Flower does not show what is parked"),
        ("connection_errors", "", "a connection lost at the wrong time ends a thread"),
    ),
    *of(
        "celery.worker.consumer:Consumer",
        STRATEGY,
        ("pool", "", "as TaskPool"),
        ("connection_errors", "", "a connection lost at the wrong time ends the worker"),
    ),
    *of("celery.worker", STRATEGY, ("state", "", "as its requests")),
    *of(
        "celery.worker.state",
        STRATEGY,
        ("requests", "", "a cut connection starts a handler beside the one that still runs"),
        ("active_requests", "", "as requests"),
        ("reserved_requests", "", "a place is given back too soon, or 3 ms late"),
    ),
    *of(
        "celery.worker.state",
        f"{BROKER}qos.py",
        ("scheduled_requests", "", "tasks with an eta are stranded when a connection is lost"),
    ),
    *of("celery.worker.request:Request", f"{BROKER}qos.py", ("message", "", "as scheduled_requests")),
    *of(
        "celery.worker.strategy",
        STRATEGY,
        (
            "default",
            "(task, app, consumer, info, error, task_reserved, to_system_tz, bytes, proto1_to_proto2)",
            "the worker takes no delivery",
        ),
    ),
    *of("celery.backends.base", TASKS, ("DisabledBackend", "", "the app's result backend is asked for each delivery")),
    *of(
        "celery:Task",
        TASKS,
        ("Request", "", "revoked, terminated and expired deliveries are lost"),
        ("Strategy", "", "as default: what is no delivery is not found"),
        ("acks_on_failure", "", "a failed delivery may come back for ever"),
        ("acks_on_timeout", "", "a delivery whose child was killed is lost"),
    ),
    *of(
        "celery.worker.request",
        REQUESTS,
        ("Request", "", "revoked, terminated and expired deliveries are lost"),
    ),
    *of(
        "celery.worker.request:Request",
        REQUESTS,
        ("_request_dict", "", "the task does not see our headers: attempts are not counted"),
        ("_body", "", "each body is sent to a child twice"),
        ("_content_type", "", "as _body"),
        ("_on_ack", "", "after a cut connection a delivery that still runs is never acknowledged"),
        ("_on_reject", "", "as _on_ack"),
        ("acknowledged", "", "as _on_ack"),
        ("info", "(safe)", "`inspect active` shows payloads"),
        ("_announce_revoked", "(reason, terminated, signum, expired)", "a revoked delivery is lost"),
        ("acknowledge", "()", "a revoked delivery is acknowledged before its dead letter is stored"),
        ("time_start", "", "a delivery revoked before it ran counts as started"),
    ),
    *of("celery.app", TELLING, ("trace", "", "as its ExceptionInfo")),
    *of(
        "celery.app.trace",
        TELLING,
        ("ExceptionInfo", "(exc_info, internal)", "a retried or dead delivery costs 0.6 ms more, for a traceback"),
    ),
    *of(
        "billiard.einfo",
        TELLING,
        ("ExceptionInfo", "(exc_info, internal)", "as celery.app.trace's"),
        (
            "ExceptionWithTraceback",
            "(exc, tb)",
            "receivers of task_failure and task_retry miss it around the exception",
        ),
    ),
    *of(
        "billiard.einfo:ExceptionInfo",
        TELLING,
        ("type", "", "Celery fails at a retry or a dead letter of ours, and reports an error of its own"),
        ("exception", "", "Celery's events do not say why a delivery is retried or dead"),
        ("tb", "", "as type"),
        ("traceback", "", "as type"),
        ("internal", "", "as type"),
    ),
    *of(
        "celery.loaders.base:BaseLoader",
        "events_worker/isolation/nursery.py",
        ("import_default_modules", "()", "a suspect runs without the modules of Celery's `imports` and `include`"),
    ),
    *of(
        "amqp:Connection",
        "events_core/publishing/amqp_connection.py",
        ("_transport", "", "a forked child keeps its parent's socket, or connects where nobody asked it to"),
    ),
    # Commands
    *of(
        "celery.bin.celery",
        "events_worker/cli/worker.py",
        ("celery", "", "`events worker` starts nothing"),
    ),
    *of("celery.bin.celery:celery", "events_worker/cli/worker.py", ("params", "", "`events worker` finds no app")),
    *of("flower.options", "events_worker/monitoring/flower.py", ("options", "", "`events flower` has no password")),
    *of("flower.views", f"{BROKER}lengths.py", ("BaseHandler", "", "Flower shows no queues of ours")),
    *of(
        "flower.views:BaseHandler",
        f"{BROKER}lengths.py",
        ("get_broker", "()", "Flower shows no queues of ours"),
        ("capp", "", "as get_broker"),
    ),
]

LISTED = {(file, name.name) for name in PRIVATE for file in name.files}


@pytest.mark.parametrize("name", PRIVATE, ids=str)
def test_it_is_there_as_we_use_it(name: Name) -> None:
    owner = foreign.resolve(name.owner)
    assert foreign.has(owner, name.name), f"{name} is gone. Without it: {name.breaks} ({name.used_in})"
    if name.shape:
        shape = foreign.parameters(getattr(owner, name.name))
        assert shape == name.shape, (
            f"{name} has changed. If it means something else now: {name.breaks} ({name.used_in})"
        )


@pytest.mark.parametrize("name", PRIVATE, ids=str)
def test_it_is_still_used(name: Name) -> None:
    assert name.used_in, f"no file in {name.files} has {name}: take it off the list"


def test_no_other_is_used() -> None:
    unlisted = {f"{use.file} {use.how} {use.name}" for use in foreign.uses() if (use.file, use.name) not in LISTED}
    assert not unlisted, "put these on the list, and say what breaks without them:\n" + "\n".join(sorted(unlisted))


def test_what_we_override_can_be_called_as_theirs() -> None:
    narrower = [where for where, ours, theirs in foreign.overriding() if not foreign.takes(ours, theirs)]
    assert not narrower, f"these do not take all that they may be called with: {narrower}"
