"""The table of the message brokers' contract, broker × scenario, at the end of a run that tried it."""

from __future__ import annotations

import re

import pytest

MODULE = "test_message_brokers.py"
YES, NO, NOT_PROMISED = "yes", "FAILED", "–"
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")

_results: dict[str, dict[str, str]] = {}  # scenario -> broker -> result


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Called by the process that sums up, also with pytest-xdist."""
    parts = report.nodeid.split("::")
    if len(parts) != 3 or not parts[0].endswith(MODULE) or (report.when != "call" and report.passed):
        return
    broker = " ".join(_CAPITAL.split(parts[1].removeprefix("Test")))
    scenario = parts[2].removeprefix("test_").replace("_", " ")
    before = _results.setdefault(scenario, {}).get(broker, YES)
    _results[scenario][broker] = YES if report.passed and before == YES else NO


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _results:
        return
    terminalreporter.write_sep("=", "message brokers: broker × scenario")
    for line in lines(_results):
        terminalreporter.write_line(line)
    terminalreporter.write_line(f"{NOT_PROMISED}: not promised (docs/message-brokers.md), or not tried in this run")


def lines(results: dict[str, dict[str, str]]) -> list[str]:
    """A Markdown table."""
    brokers = sorted({broker for of in results.values() for broker in of})
    first = max(len(scenario) for scenario in results)
    rows = [["scenario".ljust(first), *brokers]]
    rows.append(["-" * first, *("-" * len(broker) for broker in brokers)])
    for scenario in sorted(results):
        cells = (results[scenario].get(broker, NOT_PROMISED).center(len(broker)) for broker in brokers)
        rows.append([scenario.ljust(first), *cells])
    return ["| " + " | ".join(row) + " |" for row in rows]
