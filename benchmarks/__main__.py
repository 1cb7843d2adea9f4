"""`python -m benchmarks [NAME ...]`: measures and prints tables.

Exits with 1 if something broke and, with `--must-hold`, if a target was missed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.machine import Theft, describe
from benchmarks.record import record
from benchmarks.rounds import Effort
from benchmarks.stage import Stage
from benchmarks.table import Report, show
from tests.support import servers

#: Name on the command line -> module, or module:function, in the order in which all are run.
GENERAL = {
    "publish-redis": "publish_redis",
    "publish-rabbitmq": "publish_rabbitmq",
    "worker": "worker",
    "async": "asynchronous",
    "latency": "latency",
    "registry": "registry",
    "slower": "slower",
}
#: Those of the Redis Streams transport, likewise; only run when named.
TRANSPORT = {
    "transport": "transport",
    "transport-pipeline": "worker:on_redis",
    "transport-latency": "latency:on_redis",
    "transport-memory": "transport_memory",
}
#: Those of limits and groups, likewise; only run when named.
LIMITS = {
    "limits": "limits",
    "limits-cost": "limits_cost",
    "limits-parked": "limits_parked",
    "limits-groups": "limits_groups",
    "limits-fairness": "limits:fairness",
}
#: Those of message brokers, likewise; only run when named.
BROKERS = {
    "brokers-publish": "brokers:publish",
    "brokers-subscribe": "brokers:subscribe",
    "brokers-bus": "brokers_bus",
}
#: Those of web applications, likewise; only run when named.
WEB = {"web": "web"}
NAMES = GENERAL | TRANSPORT | LIMITS | BROKERS | WEB
#: Heading in docs/benchmarks.md -> whose results are recorded there.
SECTIONS = {
    "Results": GENERAL,
    "Results of the Redis Streams transport": TRANSPORT,
    "Results of limits": LIMITS,
    "Results of message brokers": BROKERS,
    "Results of web applications": WEB,
}


def main() -> int:
    """Run the benchmarks that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)}; default: {', '.join(GENERAL)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round to a file as well")
    parser.add_argument("--quick", action="store_true", help="only try whether they work: the figures mean nothing")
    parser.add_argument("--record", action="store_true", help="write the results into docs/benchmarks.md")
    parser.add_argument("--must-hold", action="store_true", help="exit with 1 if a target is missed")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}: choose from {', '.join(NAMES)}")
    # Wider than a pipe's 80 columns: a table that is broken into pieces cannot be read.
    console = Console(width=None if sys.stdout.isatty() else 150)
    about, theft = describe([]), Theft()
    try:
        reports, seconds = _run(options.names or list(GENERAL), Effort(options.quick), console)
    except pytest.skip.Exception as reason:  # the tests' servers say so when one cannot be found
        print(f"benchmarks: {reason}", file=sys.stderr)
        return 1
    about |= {"servers": ", ".join(servers.used), "stolen": str(theft), "took": f"{sum(seconds.values()):.0f} s"}
    for key, value in about.items():
        console.print(f"{key + ':':13} {value}", highlight=False)
    hold = _conclude(reports, console)
    found: dict[str, Any] = {"about": about, "seconds": seconds}
    found["benchmarks"] = {name: report.as_json() for name, report in reports.items()}
    if options.record:
        for heading, names in SECTIONS.items():
            record(found, heading, names)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    return int(options.must_hold and not hold)


def _run(names: list[str], effort: Effort, console: Console) -> tuple[dict[str, Report], dict[str, float]]:
    reports: dict[str, Report] = {}
    seconds: dict[str, float] = {}
    with Stage(effort) as stage:
        for name in names:
            begin = time.monotonic()
            module, _, function = NAMES[name].partition(":")
            run = getattr(importlib.import_module(f"benchmarks.{module}"), function or "run")
            reports[name] = run(stage)
            seconds[name] = round(time.monotonic() - begin, 1)
            show(reports[name], console)
    return reports, seconds


def _conclude(reports: dict[str, Report], console: Console) -> bool:
    """One line: how many targets hold, and which do not. Returns whether all do."""
    rows = [(name, row) for name, report in reports.items() for row in report.rows if row.holds is not None]
    missed = [f"{name} ({row.case})" for name, row in rows if not row.holds]
    line = f"bench: {len(rows) - len(missed)} of {len(rows)} targets hold"
    console.print(f"{line}; missed: {', '.join(missed)}" if missed else line, highlight=False)
    return not missed


if __name__ == "__main__":
    sys.exit(main())
