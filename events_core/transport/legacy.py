"""Messages of kombu's own Redis transport, which lie in lists under the queues' names."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import redis

logger = logging.getLogger(__name__)


def warn_of_lists(client: redis.Redis, queue: str, lists: Sequence[str]) -> None:
    """Say so where messages wait in a queue's lists: no consumer of streams will ever see them."""
    with client.pipeline(transaction=False) as pipeline:
        for key in lists:
            pipeline.llen(key)
        lengths = pipeline.execute(raise_on_error=False)
    waiting = sum(length for length in lengths if isinstance(length, int))
    if waiting:
        logger.warning(
            "queue %s: %s messages of kombu's own Redis transport wait in a list, which this transport does not read: "
            "run a worker on redis:// until they are done",
            queue,
            waiting,
        )
