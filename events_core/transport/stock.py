"""kombu's Redis transport, with two faults mended that end a worker or lose a message.

- What is no kombu message (random bytes, truncated JSON) ended the worker and was gone: here it is delivered as an
  undecodable message, so that the worker can make a dead letter of it.
- A Redis restart ended a worker that acknowledges late (AttributeError in `_connparams` of a closed channel): here
  it is a connection error, which the worker survives.

It still pops a message before it records it as unacknowledged: a worker killed in between loses it.
"""

from __future__ import annotations

from queue import Empty
from typing import Any

import redis
from kombu.transport import redis as stock
from kombu.utils.encoding import bytes_to_str

from events_core.transport.lengths import extend_flower
from events_core.transport.payload import decode


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
            self.connection._deliver(decode(item, queue, self.decode_body), queue)
            return True
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()


class Transport(stock.Transport):
    """kombu's transport with our channel."""

    Channel = Channel

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        extend_flower()
