"""What the documents' services do: nothing but to say so, where the tests hear it."""

from __future__ import annotations

import json
import os
from typing import Any

import redis

_KEY = "seeds:said"


def _client() -> redis.Redis:
    return redis.Redis.from_url(os.environ["EVENTS_BROKER_URL"], decode_responses=True)


def say(*words: Any) -> None:
    """Called in the application and in its worker."""
    with _client() as client:
        client.rpush(_KEY, json.dumps(words))


def said() -> list[list[Any]]:
    """All of it, in order."""
    with _client() as client:
        return [json.loads(line) for line in client.lrange(_KEY, 0, -1)]
