"""``python -m examples.existing_celery``: the project before and after, with the same commands."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from events_core.transport.schemes import with_streams
from examples.stage import Stage, show

HERE = Path(__file__).parent
DONE = ("stock is reserved", "receipt is sent")


def run(stage: Stage) -> None:
    """Start the project's worker as it always was, and place an order."""
    url = os.environ["EVENTS_BROKER_URL"] if stage.redis is None else stage.redis.broker_url
    order_by(stage, 1, "before", url)
    order_by(stage, 2, "after", with_streams(url))


def order_by(stage: Stage, number: int, folder: str, broker_url: str) -> None:
    """Place an order in the project in that folder, on that broker in place of the one in its celeryconfig."""
    os.environ["CELERY_BROKER_URL"] = broker_url
    os.environ["PYTHONPATH"] = os.pathsep.join((str(HERE / folder), str(HERE.parents[1])))
    command = ("-m", "celery", "-A", "proj", "worker", "-P", "threads", "-l", "INFO")
    worker = stage.children.start(f"worker-{number}", *command)
    worker.wait_for_log(r"(ready\.)")
    stage.children.start(f"orders-{number}", "-m", "proj.orders", str(number))
    done = [worker.wait_for_log(rf"({text} for order {number})") for text in DONE]
    scheme = broker_url.partition("://")[0].partition("+")[0]
    print(f"{folder + ',':7} {scheme + '://:':17}", "; ".join(done), flush=True)
    worker.ask_to_end()
    worker.end()


if __name__ == "__main__":
    sys.exit(show("existing-celery", run))
