"""The settings of the Celery app that deliveries go through. Touches no network.

Of an app that was given (``EventSystem(celery=app)``) no setting is changed: what our promises need is said here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from events_core import ConfigurationError, EventSystem
from events_core.coordination import coordination_url
from events_core.transport.schemes import is_ours, is_streams, with_streams
from events_worker.checks.finding import Finding, shown_url

_PICKLE = {"pickle", "application/x-python-serialize"}
#: kombu's default for Redis, in seconds.
_VISIBILITY_TIMEOUT = 3600.0
_MOST_PREFETCHED = 4


def check_celery(system: EventSystem) -> Iterator[Finding]:
    """Findings on the broker and the app's settings."""
    try:
        app = system.celery
        if not system.settings.embedded:
            coordination_url(system)
    except ConfigurationError as error:
        yield Finding("error", str(error))
        return
    try:
        driver, address = _broker(app)
    except Exception as error:  # kombu imports the transport by name, and whatever that raises
        yield Finding("error", f"the broker cannot be used: {type(error).__name__}: {error}")
        return
    if driver not in ("redis", "amqp"):
        yield Finding("error", f"the broker {shown_url(address)} is neither Redis nor RabbitMQ: use one of them")
        return
    if driver == "redis" and not is_streams(address):
        yield _stock_transport(app, address)
        yield from _check_visibility(system, app)
    if not system.owns_celery:
        yield from _check_given(app, driver)


def _broker(app: Any) -> tuple[str, str]:
    connection = app.connection_for_write()
    return str(connection.transport.driver_type), str(connection.as_uri())


def _stock_transport(app: Any, address: str) -> Finding:
    if is_ours(address):
        what, how = "EVENTS_REDIS_TRANSPORT=stock", "unset it"
    else:
        streams = with_streams(shown_url(address))
        what, how = f"Celery app {app.main!r}", f"`import events_core.transport`, and set its broker_url to {streams}"
    return Finding(
        "warning",
        f"{what} keeps kombu's own transport over Redis: a worker that is killed while it takes a message loses it, "
        f"a handler that runs longer than the visibility_timeout ({_visibility_timeout(app):g} s) is started again "
        f"beside itself, and a worker is several times slower than it could be. To switch, let the queues run empty, "
        f"then {how} (docs/redis-streams.md)",
    )


def _check_visibility(system: EventSystem, app: Any) -> Iterator[Finding]:
    limit = _visibility_timeout(app)
    for spec in system.event_map.handlers:
        if spec.timeout is not None and spec.timeout >= limit:
            yield Finding(
                "warning",
                f"{spec.name} may run for {spec.timeout:g} s, longer than the broker's visibility_timeout of {limit:g} "
                "s: Redis would deliver it again beside the one that runs. Raise visibility_timeout in "
                "broker_transport_options",
            )


def _visibility_timeout(app: Any) -> float:
    return float(app.conf.broker_transport_options.get("visibility_timeout", _VISIBILITY_TIMEOUT))


def _check_given(app: Any, driver: str) -> Iterator[Finding]:
    if driver == "amqp":
        yield from _check_given_amqp(app)
    if _PICKLE & set(app.conf.accept_content or ()):
        yield Finding(
            "warning",
            f"Celery app {app.main!r} accepts pickle: whoever can write to the broker can run code in the worker. "
            "Set accept_content=['json']",
        )
    if app.conf.task_time_limit:
        yield Finding(
            "warning",
            f"Celery app {app.main!r} sets task_time_limit={app.conf.task_time_limit:g}: it ends handlers the hard way "
            "(their process is killed), three times, and then they are dead. Use timeout= of each handler instead",
        )
    if app.conf.worker_enable_prefetch_count_reduction:
        yield Finding(
            "warning",
            f"Celery app {app.main!r} leaves worker_enable_prefetch_count_reduction on: after a lost connection a "
            "worker with -P threads may hang, because two threads read one connection. Set it to False",
        )
    if app.conf.broker_connection_retry_on_startup is None:
        yield Finding(
            "warning",
            f"Celery app {app.main!r} leaves broker_connection_retry_on_startup unset: set it to True, so that a "
            "worker waits for a broker that is not up yet",
        )


def _check_given_amqp(app: Any) -> Iterator[Finding]:
    if not app.conf.broker_transport_options.get("confirm_publish"):
        yield Finding(
            "deploy",
            f"Celery app {app.main!r} publishes its own tasks to RabbitMQ without confirms, so they can be lost "
            "unnoticed (events are always confirmed): set broker_transport_options={'confirm_publish': True}",
        )
    multiplier = app.conf.worker_prefetch_multiplier
    if multiplier == 0 or multiplier > _MOST_PREFETCHED:
        yield Finding(
            "warning",
            f"Celery app {app.main!r} sets worker_prefetch_multiplier={multiplier}"
            f"{' (no limit)' if multiplier == 0 else ''}: what waits in a worker longer than RabbitMQ's "
            f"consumer_timeout (30 min) is delivered again. Set 1 to {_MOST_PREFETCHED}",
        )
