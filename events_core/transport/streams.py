"""kombu transports over Redis Streams: plain, over TLS, and by way of Sentinel.

Nothing is lost that Redis has acknowledged and keeps: a message is read and recorded as unacknowledged in one step,
and a worker that dies gives it back within seconds.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis as stock

from events_core.transport.aside import Sift
from events_core.transport.channel import Channel
from events_core.transport.errors import FAILED
from events_core.transport.lengths import extend_flower
from events_core.transport.poller import Poller

#: Seconds without an answer after which a connection is asked whether it still lives.
_HEALTH_CHECK = 5


class TLSChannel(Channel):
    """Always over TLS."""

    connection_class = stock.Channel.connection_class_ssl


class SentinelChannel(Channel, stock.SentinelChannel):
    """Finds the server through Sentinel. Transport option: `master_name`, as kombu's."""

    from_transport_options = (*stock.SentinelChannel.from_transport_options, "claim_after")
    connection_class = stock.SentinelChannel.connection_class

    def _sentinel_managed_pool(self, asynchronous: bool = False) -> Any:
        client = self.connection.client
        given = client.alt
        client.alt = [url.replace("sentinel-streams://", "sentinel://", 1) for url in given]  # what kombu looks for
        try:
            return super()._sentinel_managed_pool(asynchronous)
        finally:
            client.alt = given


class Transport(stock.Transport):
    """Redis Streams."""

    Channel = Channel
    # Celery connects again after one of these; any other error ends its worker.
    connection_errors = (*stock.Transport.connection_errors, *FAILED)
    #: Sees what its channels have read before they deliver it.
    sift: Sift | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.cycle = Poller()
        extend_flower()

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """See kombu's."""
        self.cycle.use_loop(loop)
        connection.client.transport_options.setdefault("health_check_interval", _HEALTH_CHECK)
        super().register_with_event_loop(connection, loop)


class TLSTransport(Transport):
    """Redis Streams over TLS."""

    Channel = TLSChannel


class SentinelTransport(Transport):
    """Redis Streams by way of Sentinel."""

    default_port = stock.SentinelTransport.default_port
    Channel = SentinelChannel
