"""What the demo shows: on a terminal a live table, elsewhere a line now and then."""

from __future__ import annotations

import time

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from examples.shop_demo.account import Account

_REDRAW_AFTER = 0.2  # seconds, on a terminal
_LINE_AFTER = 2.0  # seconds, elsewhere


class Show:
    """Shows the account while it changes; use as a context manager, and call `update` often."""

    def __init__(self, console: Console, account: Account, orders: int) -> None:
        self._console = console
        self._account = account
        self._orders = orders
        self._next = 0.0
        self._progress = Progress(
            TextColumn("orders sent"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        )
        self._bar = self._progress.add_task("orders", total=orders)
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Show:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.update(self._picture(), refresh=True)
            self._live.stop()

    def update(self) -> bool:
        """Read the account and show it, if it is time to; whether it was."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + (_LINE_AFTER if self._live is None else _REDRAW_AFTER)
        self._account.read()
        if self._live is not None:
            self._live.update(self._picture(), refresh=True)
        else:
            total = self._account.total()
            self._console.print(
                f"{self._account.emitted} of {self._orders} orders sent: {total.done} deliveries done, "
                f"{total.retried} retried, {total.dead} dead, {total.open} in flight"
            )
        return True

    def _picture(self) -> RenderableType:
        self._progress.update(self._bar, completed=self._account.emitted)
        return Group(self._progress, tally_table(self._account))


def tally_table(account: Account) -> Table:
    """One line for each handler."""
    table = Table("handler")
    for column in ("deliveries", "done", "retried", "dead", "in flight", "at once\n<= limit"):
        table.add_column(column, justify="right")
    for name, tally in account.tallies().items():
        counts = (tally.expected, tally.done, tally.retried, tally.dead, tally.open)
        at_once = str(tally.at_once) if tally.limit is None else f"{tally.at_once} <= {tally.limit}"
        table.add_row(name.rpartition(".")[2], *map(str, counts), at_once)
    return table


def print_summary(console: Console, account: Account, per_second: float, dead_command: str) -> None:
    """What happened, in numbers, and where the dead letter can be seen."""
    total = account.total()
    lines = [
        f"emitted     {account.emitted}",
        f"deliveries  {total.expected}",
        f"done        {total.done}",
        f"retried     {total.retried}",
        f"dead        {total.dead}",
        f"emit to first attempt, no limit, {per_second:g} orders a second: "
        f"p50 {account.latency(50):.1f} ms, p99 {account.latency(99):.1f} ms",
        "the dead letter, a declined card:",
    ]
    for line in lines:
        console.print(line, highlight=False)
    # a command to be pasted must not be wrapped
    console.print(f"  {dead_command}", soft_wrap=True, highlight=False, markup=False)
