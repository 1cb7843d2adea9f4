"""What a run stood on: every server with its version and origin, every skip with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest

from tests.support.missing import REQUIRE, servers_are_required
from tests.support.servers import used


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where servers are required, a skip of any kind is a failure: it would hide that something went untested."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and servers_are_required():
        report.outcome = "failed"
        report.longrepr = f"skipped, and {REQUIRE} is set: {_reason(report)}"
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """With pytest-xdist, servers are used by its workers and named by the process that sums up."""
    used.extend(line for line in getattr(node, "workeroutput", {}).get("servers", []) if line not in used)


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["servers"] = list(used)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_sep("=", "servers")
    for line in used or ["none was needed"]:
        terminalreporter.write_line(line)
    skips = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", ()))
    terminalreporter.write_sep("=", "skipped")
    for reason, number in skips.most_common():
        terminalreporter.write_line(f"{number} x {reason}")
    if not skips:
        terminalreporter.write_line("nothing")


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    where = report.longrepr
    return where[2].removeprefix("Skipped: ") if isinstance(where, tuple) else str(where)
