"""Finds a server's binary: on this machine, or installed from Debian's packages when that is possible."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

POLICY = Path("/usr/sbin/policy-rc.d")

_tried: set[str] = set()


@dataclass(frozen=True)
class Found:
    """A server's binary and, in words, where it came from."""

    binary: Path
    how: str


def find(name: str, package: str, folders: tuple[Path, ...] = ()) -> Found | None:
    """The binary `name`, else None.

    Args:
        name: file name of the binary.
        package: the Debian package that holds it, installed if we are root on Debian and it is not there.
        folders: looked at before PATH, for packages whose command on PATH is a wrapper.
    """
    found = _look(name, folders)
    if found is not None:
        return found
    with _alone():
        found = _look(name, folders)  # another process of this run may have installed it meanwhile
        if found is not None or not _install(package):
            return found
        found = _look(name, folders)
    return None if found is None else Found(found.binary, f"{found.binary}, installed now from Debian's {package}")


def _look(name: str, folders: tuple[Path, ...]) -> Found | None:
    for folder in folders:
        if (folder / name).is_file():
            return Found(folder / name, str(folder / name))
    on_path = shutil.which(name)
    return Found(Path(on_path), f"{on_path} on PATH") if on_path else None


def _install(package: str) -> bool:
    """Installs a Debian package once per run; False if this is no Debian, we are not root, or it failed."""
    if package in _tried or os.geteuid() != 0 or not shutil.which("apt-get"):
        return False
    _tried.add(package)
    print(f"\n*** installing a server for the tests: apt-get install {package}", file=sys.__stderr__, flush=True)
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with _no_services():
        for command in (["update"], ["install", "-y", "--no-install-recommends", package]):
            ran = subprocess.run(
                ["apt-get", *command], check=False, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True
            )
            if ran.returncode:
                print(f"*** apt-get {' '.join(command)} failed:\n{ran.stderr[-2000:]}", file=sys.__stderr__)
                return False
    return True


@contextmanager
def _alone() -> Iterator[None]:
    """One process at a time: tests run in several, and apt-get refuses a second one."""
    with (Path(tempfile.gettempdir()) / f"celery-events-tests-{os.geteuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _no_services() -> Iterator[None]:
    """Keeps packages from starting their own service while they are installed (Debian's policy-rc.d).

    A policy that is there already stays as it is.
    """
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)
