"""A secret value that is looked for: in all that people read, and in every key of Redis but the declared ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote

from events_worker.spellings import forms_of
from tests.support.dashboard import PASSWORD, Dashboard
from tests.support.ports import free_port
from tests.support.processes import ROOT, Process
from tests.support.redis_server import connect
from tests.support.shop import Shop
from tests.support.waiting import wait_until

#: How Flower asks for the rows of its page of tasks.
_ROWS = "/tasks/datatable?draw=1&start=0&length=500&order[0][column]=0&order[0][dir]=asc&columns[0][data]=name"
PAGES = ("/", "/workers", "/tasks", _ROWS, "/broker", "/api/tasks", "/api/workers", "/api/task/types", "/metrics")
_SETTLED = {"SUCCESS", "FAILURE"}


def traces(canary: str) -> set[str]:
    """How it may be written, or most of it."""
    return {form for part in (canary, canary[:20]) for form in forms_of(part) if len(form) >= 6}


def payload_store(own: Mapping[str, str]) -> list[str]:
    """The patterns of keys that the docs declare. own: what stands for their `{...}`, as patterns."""
    page = (ROOT / "docs/designing-events.md").read_text()
    section = page.partition("### Where payloads lie")[2].partition("\n#")[0]
    patterns = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    assert patterns, "the docs declare no keys"
    return [re.sub(r"\{(.+?)\}", lambda match: own[match[1]], pattern) for pattern in patterns]


def undeclared(keys: Iterable[str], declared: Collection[str]) -> set[str]:
    """Those that none of the patterns fits."""
    return {key for key in keys if not any(fnmatchcase(key, pattern) for pattern in declared)}


def holding(redis_url: str, canary: str) -> set[str]:
    """The keys of which the value has the canary. No name of a key has it."""
    return keys_with(dump(redis_url), canary)


def dump(redis_url: str) -> dict[str, bytes]:
    """All that lies in a Redis, by key."""
    found = {}
    with connect(redis_url) as client:
        for key in client.scan_iter("*"):
            if (kind := client.type(key)) != b"none":  # gone meanwhile
                found[key.decode(errors="backslashreplace")] = b"\n".join(_flat(_READERS[kind](client, key)))
    return found


def keys_with(dumped: Mapping[str, bytes], canary: str) -> set[str]:
    """The keys of which the value has the canary. AssertionError where a name has it."""
    forms = traces(canary)
    for key in dumped:
        assert not any(form in key for form in forms), key
    return {key for key, value in dumped.items() if any(form.encode() in value for form in forms)}


_READERS: dict[bytes, Callable[[Any, bytes], Any]] = {
    b"string": lambda client, key: client.get(key),
    b"hash": lambda client, key: client.hgetall(key),
    b"list": lambda client, key: client.lrange(key, 0, -1),
    b"set": lambda client, key: client.smembers(key),
    b"zset": lambda client, key: client.zrange(key, 0, -1),
    b"stream": lambda client, key: client.xrange(key),
}


def _flat(value: Any) -> Iterator[bytes]:
    """All texts within."""
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if value is None or isinstance(value, bytes):
        yield value or b""
    else:
        for one in value:
            yield from _flat(one)


@dataclass
class Lookout:
    """Gathers what can be read of a running example, and looks for canaries in it when all has been gathered.

    declared: patterns of the keys that may hold payloads.
    """

    redis_url: str
    declared: Collection[str]
    logs: dict[str, str] = field(default_factory=dict)
    payloads: dict[str, str] = field(default_factory=dict)
    pages: dict[str, str] = field(default_factory=dict)
    keys: dict[str, set[bytes]] = field(default_factory=dict)

    def read(self, *processes: Process) -> None:
        """The whole log of each."""
        self.logs |= {process.name: process.log for process in processes}

    def run(self, shop: Shop, *command: str) -> str:
        """Run `events COMMAND`, and keep what it prints; that is payloads where it is asked for them."""
        ran = shop.events(*command)
        assert ran.returncode == 0, ran.stderr
        kept = self.payloads if "--payload" in command else self.logs
        kept[f"{shop.env['EVENTS_APP']}: events {' '.join(command)}"] = ran.stdout + ran.stderr
        return ran.stdout

    def browse(self, dashboard: Dashboard, tasks: int) -> None:
        """Read all pages of a Flower, as soon as it shows so many tasks that have ended."""

        def settled() -> dict[str, dict[str, Any]]:
            found = dashboard.tasks()
            assert [task["state"] in _SETTLED for task in found.values()].count(True) >= tasks, found
            return found

        found = wait_until(settled, 60, f"Flower to show {tasks} tasks that have ended")
        paths = [*PAGES, *(f"/task/{task}" for task in found), *(f"/api/task/info/{task}" for task in found)]
        paths += {f"/worker/{quote(task['worker'])}" for task in found.values() if task.get("worker")}
        self.pages |= {path: dashboard.page(path) for path in paths}
        self.read(dashboard.process)

    def look_into_redis(self) -> None:
        """All that lies there now."""
        for key, value in dump(self.redis_url).items():
            self.keys.setdefault(key, set()).add(value)

    def nobody_saw(self, example: str, *secret: str, payload: Collection[str] = (), carried: bool = True) -> None:
        """Fails where one of these can be read; else prints how much was looked through.

        Args:
            example: its name, for the line.
            secret: what nobody may read.
            payload: what only commands show that are asked for it.
            carried: whether the declared keys must have held the first one; if not, none may hold it.
        """
        shown = self.logs | self.pages
        texts = [(canary, shown | self.payloads) for canary in secret] + [(canary, shown) for canary in payload]
        hits = [
            f"{where}: {line.strip()}"
            for canary, searched in texts
            for where, text in searched.items()
            for line in text.splitlines()
            if any(form in line for form in traces(canary))
        ]
        dumped = {key: b"\n".join(values) for key, values in self.keys.items()}
        held = {canary: keys_with(dumped, canary) for canary in (*secret, *payload)}
        where_it_may = self.declared if carried else ()
        hits += [f"Redis: {key}" for keys in held.values() for key in undeclared(keys, where_it_may)]
        assert not hits, f"{example}: {len(hits)} hits:\n" + "\n".join(hits)
        if carried:
            assert held[next(iter(held))], "nothing of it was ever there"
        assert dumped
        lines = sum(len(text.splitlines()) for text in (self.logs | self.payloads).values())
        print(f"{example}: {lines} log lines, {len(self.pages)} pages, {len(dumped)} Redis keys looked through, 0 hits")


def begin_dashboard(shop: Shop) -> Dashboard:
    """Starts `events flower`; `wait_until_it_serves` is left to the caller, who has more to start meanwhile."""
    port = free_port()
    return Dashboard(port, shop.start("flower", "--port", str(port), env={"EVENTS_FLOWER_PASSWORD": PASSWORD}))
