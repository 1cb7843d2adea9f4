"""What a broken connection to Redis raises."""

from __future__ import annotations

import redis

LOST = (redis.ConnectionError, redis.TimeoutError, OSError)
