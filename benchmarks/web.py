"""web: what an emit adds to a request of FastAPI, beside `aemit` alone; and whether requests share batches."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from functools import partial
from random import Random
from statistics import median
from typing import Any

import redis

from benchmarks.apps import ours
from benchmarks.rounds import alternate
from benchmarks.stage import Broker, Stage
from benchmarks.table import Report, Row, Target
from tests.support.processes import Process, start_python

CONCURRENT = 200
#: Requests of each of them, one after another.
EACH = 10
#: Of `await aemit` in a loop, beside each request.
LOOP = 5
#: Counted for every command that a script runs, too: what clients send is the script.
BY_SCRIPTS = "cmdstat_xadd"


def run(stage: Stage) -> Report:
    """uvicorn in a process of its own, on Redis; a client that only writes and reads bytes."""
    broker = stage.redis()
    server = _Server(broker)
    try:
        return _report(stage, broker, server)
    finally:
        server.close()


def _report(stage: Stage, broker: Broker, server: _Server) -> Report:
    effort = stage.effort
    times, each = effort.times(300), max(effort.times(EACH * 20) // 20, 1)
    drop = partial(broker.drop, ours.QUEUE)
    (turns,) = alternate(effort.rounds(9), [partial(server.in_turn, times)], drop)
    emitting, quiet, bare, alone, loop = zip(*turns, strict=True)
    added = [with_emit - without for with_emit, without in zip(emitting, quiet, strict=True)]
    commands, rates, quiet_rates = alternate(
        effort.rounds(5),
        [
            partial(_commands, broker, partial(server.at_once, "/emitting", each), CONCURRENT * each),
            partial(server.at_once, "/emitting", each),
            partial(server.at_once, "/quiet", each),
        ],
        drop,
    )
    return Report(
        "web: a FastAPI endpoint that emits one event with 3 handlers, on Redis",
        [
            Row("added to a request, median", "µs", added, alone, "await aemit", target=Target("≤", 1.5)),
            Row("a request that emits, median", "µs", emitting, quiet, "emits nothing"),
            Row("one that emits nothing, median", "µs", quiet, bare, "without ours"),
            Row("await aemit, median", "µs", alone, loop, "in a loop"),
            Row(
                f"{CONCURRENT} requests at once: commands per event", "", commands,
                target=Target("≤", 0.999, "ours"),
            ),
            Row(f"{CONCURRENT} requests at once", "/s", rates, quiet_rates, "emits nothing"),
        ],
        [
            "Added: the endpoint that emits, less the same one that only makes the event; both with lifespan(), held()",
            "and the correlation id. aemit: timed by itself in the same server, once for each request. Commands: what",
            "clients sent to Redis, by INFO commandstats, without the XADDs of their script, three for each event.",
        ],
    )  # fmt: skip


def _commands(broker: Broker, work: Callable[[], object], events: int) -> float:
    """Redis commands for each event, while the work is done."""
    with redis.Redis.from_url(broker.redis_url) as client:
        client.config_resetstat()
        work()
        said: dict[str, Any] = client.info("commandstats")
    ours_only = {name: stats for name, stats in said.items() if name not in (BY_SCRIPTS, "cmdstat_config|resetstat")}
    return sum(int(stats["calls"]) for stats in ours_only.values()) / events


class _Server:
    """uvicorn with the application, and its client."""

    def __init__(self, broker: Broker) -> None:
        options = ["--port", "0", "--no-access-log"]
        self._process: Process = start_python("-m", "uvicorn", "benchmarks.apps.web:app", *options, env=broker.env)
        self._port = int(self._process.wait_for_log(r"running on http://127\.0\.0\.1:(\d+)")[1])

    def close(self) -> None:
        """End it, as a supervisor does."""
        self._process.terminate()

    def in_turn(self, times: int) -> list[float]:
        """Microseconds, medians of so many: a request that emits, one that does not, a bare one, aemit, it in a loop.

        One of each at a time, for what disturbs the one for longer disturbs its neighbours too; in any order, for each
        leaves the machine warmer or colder for the next.
        """
        return asyncio.run(self._in_turn(times))

    async def _in_turn(self, times: int) -> list[float]:
        paths = ["/emitting", "/quiet", "/bare", "/alone/1", f"/alone/{LOOP}"]
        found: dict[str, list[float]] = {path: [] for path in paths}
        order = Random(times)
        async with _Connection(self._port) as connection:
            for _ in range(times):
                for path in order.sample(paths, len(paths)):
                    begin = time.perf_counter()
                    body = await connection.get(path)
                    took = (time.perf_counter() - begin) * 1e6
                    found[path] += json.loads(body) if path.startswith("/alone") else [took]
        return [median(found[path]) for path in paths]

    def at_once(self, path: str, each: int) -> float:
        """Requests a second, of so many clients with so many requests each."""
        return asyncio.run(self._at_once(path, each))

    async def _at_once(self, path: str, each: int) -> float:
        async def client() -> None:
            async with _Connection(self._port) as connection:
                for _ in range(each):
                    await connection.get(path)

        begin = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(CONCURRENT)))
        return CONCURRENT * each / (time.perf_counter() - begin)


class _Connection:
    """One connection that is kept alive, as cheap for the client as can be."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> _Connection:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def get(self, path: str) -> bytes:
        """The body of the answer. Raises RuntimeError where it is none of success."""
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if not head.startswith(b"HTTP/1.1 200") or length is None:
            raise RuntimeError(f"the server answered {head.splitlines()[0]!r} to GET {path}")
        return await self._reader.readexactly(int(length[1]))
