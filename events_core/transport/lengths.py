"""How long queues are, for those who look: `events status`, and Flower's page of the broker."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from typing import Any

from kombu import Connection

from events_core.transport.schemes import is_ours

#: Seconds that Flower's page waits for Redis, unless the app's transport options say otherwise.
_PATIENCE = 2.0


def ready(connection: Connection, queue: str) -> int:
    """Messages that wait in the queue and no worker holds; one that was never declared holds none.

    Raises the connection's `connection_errors` and `channel_errors`.
    """
    try:
        # a channel of its own: RabbitMQ closes one on which a queue was not found
        with connection.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).message_count)
    except connection.channel_errors as error:
        if str(getattr(error, "reply_code", "")) == "404":  # kombu's virtual transports give it as a text
            return 0
        raise


class Queues:
    """What Flower asks for lengths, in place of its own clients: the transport, by whatever way the app connects."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def queues(self, names: Iterable[str]) -> list[dict[str, Any]]:
        """Name and length of each queue. Raises the connection's errors within seconds."""
        return await asyncio.get_running_loop().run_in_executor(None, self._ask, list(names))

    def _ask(self, names: list[str]) -> list[dict[str, Any]]:
        with self._connection as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=2 * _PATIENCE)
            return [{"name": name, "messages": ready(connection, name)} for name in names]


def extend_flower() -> None:
    """Have Flower show the queues of our transports, if this process has loaded Flower; otherwise do nothing.

    Flower 2.2 chooses by the URL's scheme how it counts, and knows those of kombu only.
    """
    views = sys.modules.get("flower.views")
    handler = getattr(views, "BaseHandler", None)
    original = getattr(handler, "get_broker", None)
    if handler is None or original is None or original.__module__ == __name__:
        return

    def get_broker(self: Any) -> Any:
        app = self.capp
        options = {"socket_timeout": _PATIENCE, "socket_connect_timeout": _PATIENCE}
        options |= app.conf.broker_transport_options or {}
        connection = app.connection_for_write(transport_options=options)
        return Queues(connection) if is_ours(connection.as_uri()) else original(self)

    handler.get_broker = get_broker
