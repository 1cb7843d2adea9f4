"""How new what was handled is, for subscribers with ``latest_only``: for each entity the newest version that was done.

One hash for each handler: the entity's key as text, and the version. Versions are compared as text, for Redis's own
numbers end at 2**53.
"""

from __future__ import annotations

import logging

import redis

from events_core.coordination import Coordination
from events_core.event_map import EventMap
from events_core.events import Event
from events_core.handlers import HandlerSpec
from events_worker.run import Newest
from events_worker.subscriptions.keys import counts_key

logger = logging.getLogger(__name__)

# Gives what was there before. ARGV: entity, version.
_RAISE = """
local function newer(a, b)
  local below, other_below = a:sub(1, 1) == '-', b:sub(1, 1) == '-'
  if below ~= other_below then return other_below end
  if #a ~= #b then return (#a > #b) ~= below end
  return a ~= b and (a > b) ~= below
end
local before = redis.call('HGET', KEYS[1], ARGV[1])
if not before or newer(ARGV[2], before) then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
return before
"""


class Watermarks:
    """Those of one system."""

    def __init__(self, coordination: Coordination, event_map: EventMap) -> None:
        self._coordination = coordination
        self._map = event_map
        self._raise = coordination.script(_RAISE)

    def of(self, spec: HandlerSpec, event: Event) -> Newest | None:
        """What is newest once this event is done; None where the event tells no version."""
        key, version = (getattr(type(event), name, None) for name in ("entity_key", "entity_version"))
        if key is None or version is None:
            return None
        return Newest(spec.name, str(getattr(event, key)), int(getattr(event, version)))

    def is_outdated(self, newest: Newest) -> bool:
        """Whether something as new was done before. Raises redis.RedisError."""
        before = self._coordination.client.hget(self._key(newest.handler), newest.entity)
        outdated = before is not None and newest.version <= int(str(before))
        if outdated:
            self._count(newest.handler, "outdated")
        return outdated

    def raise_to(self, newest: Newest) -> None:
        """It is done. Tells of versions that were left out. Raises redis.RedisError."""
        args = [newest.entity, str(newest.version)]
        before = self._raise(keys=[self._key(newest.handler)], args=args)
        if before is not None and newest.version > int(before) + 1:
            # without the entity, which is of the payload
            logger.warning(
                "%s: version %d of an entity came after %s: those between are missing",
                newest.handler,
                newest.version,
                before,
            )
            self._count(newest.handler, "gaps")

    def _key(self, handler: str) -> str:
        return self._coordination.key(f"watermarks:{handler}")

    def _count(self, handler: str, what: str) -> None:
        queue = next((found.queue for found in self._map.subscribers if found.spec.name == handler), None)
        if queue is not None:
            try:
                self._coordination.client.hincrby(counts_key(self._coordination, queue), what, 1)
            except redis.RedisError:
                pass  # for people only
