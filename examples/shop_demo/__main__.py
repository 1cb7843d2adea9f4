"""``python -m examples.shop_demo``: starts the shop and its worker, sends orders, accounts for every delivery.

Exit code 0 only if nothing is lost. ``SERVE=1`` in the environment leaves everything running until Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType

from rich.console import Console

from examples.shop_demo.account import Account
from examples.shop_demo.children import Children
from examples.shop_demo.failing import DemoFailed
from examples.shop_demo.orders import send_orders
from examples.shop_demo.place import APP, FOLDER, JOURNAL, dead_command, fresh_folder, use_embedded
from examples.shop_demo.serving import serve, start_flower
from examples.shop_demo.show import Show, print_summary, tally_table

ORDERS = 300
PER_SECOND = 30.0
DECLINED = 150
#: Seconds without any delivery being settled after which the rest is lost.
PATIENCE = 30.0


def main() -> int:
    """Run the demo; its exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, _leave)
    console = Console()
    try:
        with fresh_folder():
            use_embedded()
            return run(console)
    except DemoFailed as error:
        print(f"demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def run(console: Console) -> int:
    """The demo, once its place and environment are set."""
    from examples.shop.system import events  # it reads the environment

    events.load()
    account = Account(events, JOURNAL)
    try:
        with Children(FOLDER) as children:
            account.read()  # starts the embedded Redis, which the others join
            console.print("starting two workers and the shop on the embedded Redis ...")
            serving = os.environ.get("SERVE", "") not in ("", "0")
            url = start(children, task_events=serving)
            dashboard = start_flower(children) if serving else None
            send(url, account, children, console)
            failed = report(console, account)
            if serving:
                serve(console, children, url, dashboard)
            return failed
    finally:
        account.close()
        events.close()


def start(children: Children, *, task_events: bool) -> str:
    """Start the workers and the shop; the shop's address. Returns when all are ready.

    One worker takes everything, the other receipts only: these run on both.
    """
    command = ["-m", "events_worker.cli", "worker", "-A", APP, "-P", "threads", "--without-mingle"]
    command += ["-E"] if task_events else []
    workers = [
        children.start("worker", *command, "-c", "8"),
        children.start("mail-worker", *command, "-c", "4", "-Q", "shop.mail", "-n", "mail@%h"),
    ]
    shop = children.start(
        "shop", "-m", "uvicorn", "examples.shop.web:app", "--host", "127.0.0.1", "--port", "0", "--no-access-log"
    )
    for worker in workers:
        worker.wait_for_log(r"(ready\.)")
    return shop.wait_for_log(r"running on (http://[\d.:]+)")


def send(url: str, account: Account, children: Children, console: Console) -> None:
    """Send the orders, and wait until every delivery is settled, or nothing has been for a while."""
    with Show(console, account, ORDERS) as show:
        for accepted in send_orders(url, ORDERS, per_second=PER_SECOND, declined=DECLINED):
            for order in accepted:
                account.promise(order)
            if show.update():
                children.check()
        settled, since = -1, time.monotonic()
        while time.monotonic() - since < PATIENCE:
            children.check()
            account.read()
            total = account.total()
            if not total.open:
                break
            if total.done + total.dead != settled:
                settled, since = total.done + total.dead, time.monotonic()
            show.update()
            time.sleep(0.05)


def report(console: Console, account: Account) -> int:
    """Print what became of everything; 1 if that is not what should."""
    if not console.is_terminal:
        console.print(tally_table(account))
    print_summary(console, account, PER_SECOND, dead_command())
    problems = account.problems()
    for problem in problems:
        print(f"demo failed: {problem}", file=sys.stderr)
    total = account.total()
    print(
        f"demo: {account.emitted} emitted, {total.expected} deliveries: "
        f"{total.done} done, {total.dead} dead, {total.open} lost",
        flush=True,
    )
    return 1 if problems else 0


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
