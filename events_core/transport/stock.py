"""kombu's Redis transport, with two faults mended that end a worker or lose a message.

- What is no kombu message (random bytes, truncated JSON) ended the worker and was gone: here it is delivered as an
  undecodable message, so that the worker can make a dead letter of it.
- A Redis restart ended a worker that acknowledges late (AttributeError in `_connparams` of a closed channel): here
  it is a connection error, which the worker survives.

It still pops a message before it records it as unacknowledged: a worker killed in between loses it.
"""

from __future__ import annotations

import base64
from queue import Empty
from typing import Any

import redis
import uuid_utils
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as stock
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

from events_core.publishing.connect import SCHEME_PREFIX

TRANSPORT_ALIASES.update(
    {f"{SCHEME_PREFIX}{scheme}": "events_core.transport.stock:Transport" for scheme in ("redis", "rediss")}
)


def with_own_transport(url: str) -> str:
    """The broker URL under this transport's scheme, where it is that of a Redis."""
    return SCHEME_PREFIX + url if url.startswith(("redis://", "rediss://", "redis+socket://")) else url


class Channel(stock.Channel):
    """Overrides private methods of kombu 5.7."""

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        if self.connection is None or self.connection.client is None:
            raise redis.ConnectionError("the channel is closed")
        parameters: dict[str, Any] = super()._connparams(asynchronous)
        return parameters

    def _brpop_read(self, **options: Any) -> bool:
        try:
            try:
                reply = self.client.parse_response(self.client.connection, "BRPOP", **options)
            except self.connection_errors:
                self.client.connection.disconnect()
                raise
            if not reply:
                raise Empty
            key, item = reply
            queue = bytes_to_str(key).rsplit(self.sep, 1)[0]
            self._queue_cycle.rotate(queue)
            self.connection._deliver(self._message(item, queue), queue)
            return True
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()

    def _message(self, item: bytes, queue: str) -> dict[str, Any]:
        try:
            message = loads(bytes_to_str(item))
            information = message["properties"]["delivery_info"]
            information["exchange"], information["routing_key"], message["properties"]["delivery_tag"]
            message["headers"].keys()
            self.decode_body(message["body"], message["properties"].get("body_encoding"))
        except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
            return _undecodable(item, queue)
        return dict(message)


class Transport(stock.Transport):
    """kombu's transport with our channel."""

    Channel = Channel


def _undecodable(item: bytes, queue: str) -> dict[str, Any]:
    return {
        "body": base64.b64encode(item).decode("ascii"),
        "content-type": "application/octet-stream",
        "content-encoding": "binary",
        "headers": {},
        "properties": {
            "body_encoding": "base64",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "delivery_tag": str(uuid_utils.uuid7()),
        },
    }
