"""The machine and the versions that a run stood on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

#: A load above which other work on the machine may disturb the figures.
BUSY = 0.7


def describe(servers: list[str]) -> dict[str, str]:
    """The machine, Python, packages and servers, in words."""
    packages = ("celery", "kombu", "redis", "pydantic", "amqp", "dramatiq")
    load = os.getloadavg()[0]
    return {
        "machine": f"{os.cpu_count()} cores, {_model()}, {_memory()}",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": ", ".join(f"{name} {_version(name)}" for name in packages),
        "servers": ", ".join(servers),
        "load before": f"{load:.2f}" + (" (the machine was busy: figures may be off)" if load > BUSY else ""),
    }


class Theft:
    """Counts, from when it is made, the time for which a virtual machine's processors were given to other machines."""

    def __init__(self) -> None:
        self._begin = _ticks()

    def __str__(self) -> str:
        now = _ticks()
        if now is None or self._begin is None:
            return "unknown"
        idle, stolen, whole = (after - before for after, before in zip(now, self._begin, strict=True))
        return f"{stolen / max(whole - idle, 1):.1%} of the processor time that was asked for"


def _ticks() -> tuple[int, int, int] | None:
    """Idle, stolen, all; of /proc/stat, proc(5)."""
    line = _line("/proc/stat", "cpu ")
    if not line:
        return None
    user, nice, system, idle, waiting, interrupts, soft, stolen, *_ = map(int, line.split()[1:])
    return idle + waiting, stolen, user + nice + system + idle + waiting + interrupts + soft + stolen


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _model() -> str:
    return _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()


def _memory() -> str:
    kilobytes = _field("/proc/meminfo", "MemTotal").split(" ")[0]
    return f"{int(kilobytes) / 2**20:.0f} GiB" if kilobytes else "memory unknown"


def _field(file: str, name: str) -> str:
    return _line(file, name).partition(":")[2].strip()


def _line(file: str, begin: str) -> str:
    try:
        lines = Path(file).read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(begin)), "")
