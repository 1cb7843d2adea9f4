"""What Redis and its connections raise."""

from __future__ import annotations

import redis

#: By a connection that is broken, or leads to a server that has become a replica.
LOST = (redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError, OSError)
#: Also by a Redis that refuses: its disk is full, it misses replicas. There is nothing to do but to come again.
FAILED = (*LOST, redis.ResponseError)
