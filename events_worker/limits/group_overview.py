"""Which groups there are, and where each stands. Changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from events_core import EventSystem
from events_core.coordination import Coordination
from events_core.groups import GroupProgress


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One group. max_parallel: as it was emitted. created: seconds since 1970. stopped: it was cancelled."""

    id: str
    name: str
    max_parallel: int
    created: float
    stopped: bool
    progress: GroupProgress


def group_ids(coordination: Coordination, *, completed: bool) -> set[str]:
    """The ids of the groups under way. completed: of those that have completed within a day too (reads all keys)."""
    client: Any = coordination.client
    ids = {name.partition(":")[2] for name, _ in client.hscan_iter(coordination.key("gates"), match="group:*")}
    if completed:
        start = coordination.key("group:")
        pattern = re.sub(r"([*?\[\]\\^])", r"\\\1", start) + "*"
        ids |= {key.removeprefix(start) for key in client.scan_iter(match=pattern, count=1000, _type="hash")}
    return ids


def group_rows(system: EventSystem, coordination: Coordination, ids: Iterable[str]) -> list[GroupRow]:
    """Those of the groups that are known (still), newest first."""
    client: Any = coordination.client
    rows = []
    for group_id in ids:
        try:
            progress = system.group(group_id).progress()
        except LookupError:
            continue
        key = coordination.key(f"group:{group_id}")
        name, maximum, created, stopped = client.hmget(key, "name", "max", "created", "stopped")
        row = GroupRow(group_id, name or "", int(maximum or 0), float(created or 0), stopped is not None, progress)
        rows.append(row)
    return sorted(rows, key=lambda row: (-row.created, row.id))
