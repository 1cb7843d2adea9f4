"""Celery's broker over Redis. Importing this makes kombu know the schemes.

``redis-streams://``, ``rediss-streams://`` (TLS) and ``sentinel-streams://``: Redis Streams, for any Celery
application. ``events-redis://``: kombu's own transport with two faults mended.
"""

from __future__ import annotations

from kombu.transport import TRANSPORT_ALIASES

TRANSPORT_ALIASES.update(
    {
        "redis-streams": "events_core.transport.streams:Transport",
        "rediss-streams": "events_core.transport.streams:TLSTransport",
        "sentinel-streams": "events_core.transport.streams:SentinelTransport",
        "events-redis": "events_core.transport.stock:Transport",
        "events-rediss": "events_core.transport.stock:Transport",
    }
)
