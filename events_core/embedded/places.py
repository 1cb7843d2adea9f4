"""Where the files of one embedded Redis are, and that nobody else can get at them."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from events_core.embedded.failures import EmbeddedRedisError

# A socket's path must fit into sockaddr_un: 107 bytes on Linux, 103 on macOS.
LONGEST_SOCKET_PATH = 100
# Not tempfile.gettempdir(): two processes with a different TMPDIR must find the same socket.
SOCKETS = Path("/tmp")


@dataclass(frozen=True, slots=True)
class Places:
    """The paths of one embedded Redis."""

    data_dir: Path
    socket: Path

    @classmethod
    def of(cls, data_dir: str | Path) -> Places:
        """The places for `data_dir`. All names of one directory, relative ones and links, give the same."""
        root = Path(data_dir).resolve()
        socket = root / "redis.sock"
        if len(os.fsencode(socket)) > LONGEST_SOCKET_PATH:
            digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
            socket = SOCKETS / f"celery-events-{os.geteuid()}-{digest}" / "redis.sock"
        return cls(root, socket)

    @property
    def users_lock(self) -> Path:
        return self.data_dir / "users.lock"

    @property
    def start_lock(self) -> Path:
        return self.data_dir / "start.lock"

    @property
    def server_lock(self) -> Path:
        return self.data_dir / "server.lock"

    @property
    def log(self) -> Path:
        return self.data_dir / "redis.log"

    @property
    def pid_file(self) -> Path:
        return self.data_dir / "redis.pid"

    def prepare(self) -> None:
        """Make the directories, of mode 0700. Raises `EmbeddedRedisError` where others could get in."""
        for folder in (self.data_dir, self.socket.parent):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise EmbeddedRedisError(
                    f"The embedded Redis cannot make its directory {folder}: {error}. Set EVENTS_DATA_DIR to another."
                ) from error
        self.check()

    def check(self) -> None:
        """Raises `EmbeddedRedisError` if a directory is not ours alone, `OSError` if there is none."""
        _require_private(self.data_dir)
        _require_private(self.socket.parent)

    def tidy(self) -> None:
        """Remove the socket's directory once the server is gone, if it is not the data directory."""
        if self.socket.parent != self.data_dir:
            self.socket.unlink(missing_ok=True)
            self.socket.parent.rmdir()


def _require_private(folder: Path) -> None:
    # lstat: in the shared temp directory somebody may have put a link in our place.
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise EmbeddedRedisError(
            f"The embedded Redis does not use {folder}: it is not a directory of this user (uid {os.geteuid()}). "
            "Set EVENTS_DATA_DIR to a directory of your own, with a path shorter than 80 characters."
        )
    if found.st_mode & 0o077:
        # Not chmod-ed silently: the directory may be in use for something else.
        raise EmbeddedRedisError(
            f"The embedded Redis does not use {folder}: its mode is {stat.S_IMODE(found.st_mode):04o}, others on this "
            f"machine could reach the data. `chmod 700 {folder}`, or set EVENTS_DATA_DIR to another directory."
        )
