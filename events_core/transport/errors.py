"""What a connection to Redis raises that is broken, or leads to a server that has become a replica."""

from __future__ import annotations

import redis

LOST = (redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError, OSError)
