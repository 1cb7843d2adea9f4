"""What can go wrong with the embedded Redis: `EmbeddedRedisError` and two special cases of it."""

from __future__ import annotations

from events_core.errors import ConfigurationError


class EmbeddedRedisError(ConfigurationError):
    """The embedded Redis cannot be started, reached or trusted."""


class EmbeddedRedisNotFound(EmbeddedRedisError):
    """There is no usable redis-server on this machine."""

    def __init__(self, looked_for: list[str]) -> None:
        super().__init__(
            f"No redis-server for BROKER_URL 'embedded'. Looked for: {'; '.join(looked_for)}. "
            "Install redis-server (`apt install redis-server`, `brew install redis`), or "
            "`pip install 'celery-events[embedded]'` (Python below 3.13), "
            "or set EVENTS_BROKER_URL=redis://... to use a Redis that is running elsewhere."
        )


class CorruptAppendOnlyFile(EmbeddedRedisError):
    """redis-server refuses to load its append-only file. Nothing was changed or removed."""
