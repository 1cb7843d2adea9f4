"""The stage on which an example shows itself whole: a folder, a broker, and processes, all of which go when it ends."""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from events_core.embedded import EmbeddedRedis, open_embedded
from examples.shop_demo.children import Child, Children
from examples.shop_demo.failing import DemoFailed

__all__ = ["DemoFailed", "Stage", "free_port", "show"]


@dataclass(frozen=True, slots=True)
class Stage:
    """What an example has while it shows itself.

    folder: its own, deleted at the end. children: its processes. redis: the embedded one, where that runs.
    """

    folder: Path
    children: Children
    redis: EmbeddedRedis | None

    def worker(self, name: str, app: str) -> Child:
        """Start ``events worker -A app`` and return when it takes deliveries."""
        # names of their own, as Celery wants of workers that share a broker
        command = ("-m", "events_worker.cli", "worker", "-A", app, "-n", f"{name}@%h", "-P", "threads", "-c", "4")
        child = self.children.start(name, *command, "--without-mingle", "--without-gossip")
        child.wait_for_log(r"(ready\.)")
        return child

    def web(self, name: str, app: str, port: int = 0) -> tuple[Child, str]:
        """Start uvicorn, on any free port; the process and its address, without a slash at its end."""
        command = ("-m", "uvicorn", app, "--host", "127.0.0.1", "--port", str(port))
        child = self.children.start(name, *command)
        return child, child.wait_for_log(r"running on (http://[\d.:]+)")


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def show(name: str, run: Callable[[Stage], None]) -> int:
    """Run an example on a stage; the exit code of its process. name: begins the name of its folder."""
    if signal.getsignal(signal.SIGTERM) != signal.SIG_IGN:
        signal.signal(signal.SIGTERM, _leave)
    try:
        with _stage(name) as stage:
            run(stage)
    except DemoFailed as error:
        print(f"{name} failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


@contextmanager
def _stage(name: str) -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as path:
        folder = Path(path)
        with _broker(folder) as redis, Children(folder) as children:
            yield Stage(folder, children, redis)


@contextmanager
def _broker(folder: Path) -> Iterator[EmbeddedRedis | None]:
    """The one that EVENTS_BROKER_URL names, else an embedded Redis of the folder, which ends with the block.

    A RabbitMQ without an EVENTS_REDIS_URL has it as its coordination Redis.
    """
    given = os.environ.get("EVENTS_BROKER_URL") or "embedded"
    if given != "embedded" and (given.startswith("redis") or os.environ.get("EVENTS_REDIS_URL")):
        yield None
        return
    redis = open_embedded(folder / "redis")
    if given == "embedded":
        os.environ |= {"EVENTS_BROKER_URL": given, "EVENTS_DATA_DIR": str(folder / "redis")}
    else:
        os.environ["EVENTS_REDIS_URL"] = redis.url
    try:
        yield redis
    finally:
        redis.close()


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
