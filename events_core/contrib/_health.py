"""Whether the servers of a system answer: for health checks of any web framework."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_futures
from dataclasses import asdict, dataclass
from typing import Any
from weakref import WeakKeyDictionary

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from events_core.coordination import coordination_address
from events_core.errors import ConfigurationError
from events_core.forking import call_in_child
from events_core.publishing.amqp_connection import ERRORS, open_connection
from events_core.publishing.connect import redis_address
from events_core.system import EventSystem

logger = logging.getLogger(__name__)

#: Seconds that a health check takes at most, unless told otherwise.
PATIENCE = 2.0
OK = "ok"


@dataclass(frozen=True, slots=True)
class Health:
    """What a health check found. checks: for ``broker`` and ``coordination``, "ok" or what is wrong.

    It names no server and no user, so that it may be shown to anyone; the log says more.
    """

    ok: bool
    checks: dict[str, str]

    @property
    def status(self) -> int:
        """The HTTP status: 200 or 503."""
        return 200 if self.ok else 503

    def as_json(self) -> dict[str, Any]:
        """The body of the answer."""
        return asdict(self)


def ping(system: EventSystem, timeout: float = PATIENCE) -> Health:
    """Whether the broker and the coordination Redis answer within `timeout` seconds. Blocks, but never longer."""
    started = _pings.start(system, timeout)
    wait_for_futures(started.values(), timeout)
    return _health(started, timeout)


async def aping(system: EventSystem, timeout: float = PATIENCE) -> Health:
    """As `ping`, without blocking the event loop."""
    started = _pings.start(system, timeout)
    # wrapped only to be waited for: a look that takes longer is not cancelled, others may wait for it too
    await asyncio.wait({asyncio.wrap_future(future) for future in started.values()}, timeout=timeout)
    return _health(started, timeout)


def _health(started: dict[str, Future[str]], timeout: float) -> Health:
    late = f"no answer within {timeout:g} s"
    checks = {name: future.result() if future.done() else late for name, future in started.items()}
    return Health(all(said == OK for said in checks.values()), checks)


class _Pings:
    """The looks that are under way, each in a thread of its own: of one system and server there is one at a time.

    In threads, because a name server that does not answer keeps a connect waiting beyond any timeout; one at a time,
    so that they do not pile up while that lasts.
    """

    def __init__(self) -> None:
        self._reset()
        call_in_child(self._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._running: WeakKeyDictionary[EventSystem, dict[str, Future[str]]] = WeakKeyDictionary()

    def start(self, system: EventSystem, timeout: float) -> dict[str, Future[str]]:
        """What is looked at, by name."""
        with self._lock:
            running = self._running.setdefault(system, {})
            for name, look in _LOOKS.items():
                if name not in running or running[name].done():
                    running[name] = _in_thread(name, look, system, timeout)
            return dict(running)


def _in_thread(
    name: str, look: Callable[[EventSystem, float], None], system: EventSystem, timeout: float
) -> Future[str]:
    future: Future[str] = Future()

    def run() -> None:
        said = "a fault of the health check itself"
        try:
            said = _say(name, look, system, timeout)
        finally:
            future.set_result(said)

    threading.Thread(target=run, name=f"events-health-{name}", daemon=True).start()
    return future


def _say(name: str, look: Callable[[EventSystem, float], None], system: EventSystem, timeout: float) -> str:
    try:
        look(system, timeout)
    except ConfigurationError as error:
        logger.warning("health of %r: the %s is not configured: %s", system.name, name, error)
        return "not configured"
    except (redis.TimeoutError, TimeoutError):
        logger.warning("health of %r: the %s did not answer within %g s", system.name, name, timeout)
        return f"no answer within {timeout:g} s"
    except (redis.RedisError, *ERRORS) as error:
        logger.warning("health of %r: the %s cannot be reached: %s", system.name, name, error)
        return f"cannot be reached ({type(error).__name__})"
    except Exception as error:  # of which nobody knows what it quotes
        logger.warning("health of %r: the %s cannot be looked at: %s", system.name, name, type(error).__name__)
        return f"cannot be looked at ({type(error).__name__})"
    return OK


def _look_at_broker(system: EventSystem, timeout: float) -> None:
    system.check_broker()
    embedded = system.open_embedded()
    if embedded is not None:
        _ping_redis(embedded.url, {}, timeout)
        return
    broker = system.celery.connection_for_write()
    driver = broker.transport.driver_type
    if driver == "redis":
        _ping_redis(*redis_address(broker), timeout)
    elif driver == "amqp":
        open_connection(broker, timeout).close()
    else:
        raise ConfigurationError(f"the Celery app's broker ({driver}) is neither Redis nor RabbitMQ")


def _look_at_coordination(system: EventSystem, timeout: float) -> None:
    _ping_redis(*coordination_address(system), timeout)


def _ping_redis(url: str, options: dict[str, Any], timeout: float) -> None:
    once = Retry(NoBackoff(), 0)
    waits = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    with redis.Redis.from_url(url, **waits, retry=once, protocol=2, **options) as client:
        client.ping()


_LOOKS: dict[str, Callable[[EventSystem, float], None]] = {
    "broker": _look_at_broker,
    "coordination": _look_at_coordination,
}
_pings = _Pings()
