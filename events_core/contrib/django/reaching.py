"""Servers that do not answer are said in a message: no page fails because of them."""

from __future__ import annotations

import redis
from django.core.exceptions import ImproperlyConfigured

from events_core import EventsError

#: What a page that asks Redis may meet.
FAILURES = (redis.RedisError, EventsError, ImproperlyConfigured, OSError)


def reason_of(error: BaseException) -> str:
    """What is wrong, as a sentence. Names no password: redis-py shows no address with one."""
    text = str(error).strip(". ") or type(error).__name__
    if isinstance(error, redis.RedisError | OSError) and not isinstance(error, EventsError):
        return f"The coordination Redis does not answer: {text}. Start it, or correct EVENTS_REDIS_URL."
    return f"{text}."
