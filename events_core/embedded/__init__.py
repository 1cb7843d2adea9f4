"""`EVENTS_BROKER_URL=embedded`: a real redis-server for the laptop, shared by every process of one directory.

Three lock files in the data directory keep it simple, because the kernel lets go of them whenever a process dies:

- `start.lock`, exclusive: whoever joins or leaves holds it, so that no two do so at once.
- `users.lock`, shared: held by every user. The one who can make it exclusive on leaving was the last, and stops the
  server.
- `server.lock`, exclusive: inherited by the redis-server itself. While it is held the server lives, whatever became of
  its socket, and no second one ever writes to the same files.

A user that is killed with SIGKILL stops nothing. If it was the last, the server stays, the next process to open the
directory joins it, and it ends when the last user of that time leaves cleanly.

For development: SIGKILL of any process loses nothing that was confirmed, a power cut up to the last second of writes.
Not on Windows.
"""

from __future__ import annotations

from events_core.embedded.failures import CorruptAppendOnlyFile, EmbeddedRedisError, EmbeddedRedisNotFound
from events_core.embedded.user import EmbeddedRedis, is_running, open_embedded

__all__ = [
    "CorruptAppendOnlyFile",
    "EmbeddedRedis",
    "EmbeddedRedisError",
    "EmbeddedRedisNotFound",
    "is_running",
    "open_embedded",
]
