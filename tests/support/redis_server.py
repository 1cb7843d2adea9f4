"""A redis-server of the tests' own, and one that was given by URL."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support import processes
from tests.support.finding import Found
from tests.support.ports import free_port
from tests.support.waiting import wait_until


def connect(url: str) -> redis.Redis:
    """A client that answers or fails within seconds and never tries again by itself."""
    return redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5, retry=Retry(NoBackoff(), 0))


class RedisServer:
    """redis-server on 127.0.0.1 with an append-only file: may be killed and restarted on its port and its data.

    A password of its own, and its process id asked for before anything is deleted, make sure that the server
    that answers is the one that was started here.
    """

    def __init__(self, found: Found, more_config: str = "") -> None:
        """Chooses its port and folder.

        Args:
            found: the binary.
            more_config: further lines of its redis.conf.
        """
        self.how = found.how
        self.port = free_port()
        self._more_config = more_config
        self._binary = found.binary
        self._password = secrets.token_hex(8)
        self._folder = Path(tempfile.mkdtemp(prefix="events-test-redis-"))
        self._process: processes.Process | None = None
        self.version = ""

    def url(self, db: int = 0) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self.port}/{db}"

    def client(self, db: int = 0) -> redis.Redis:
        return connect(self.url(db))

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process is not None and self._process.alive else None

    def start(self) -> None:
        """Starts it and waits until it has read its data and answers."""
        if self.pid is not None:
            return
        config = self._folder / "redis.conf"
        config.write_text(
            f"bind 127.0.0.1\nport {self.port}\ndir {self._folder}\nrequirepass {self._password}\ndaemonize no\n"
            'appendonly yes\nappendfsync everysec\nsave ""\nmaxmemory-policy noeviction\n' + self._more_config
        )
        self._process = processes.start([self._binary, config], name="redis-server", cwd=self._folder)
        wait_until(self._answers, 30, f"redis-server on port {self.port}; it printed {self._process.log[-500:]}")

    def _answers(self) -> bool:
        assert self._process is not None
        if not self._process.alive:
            raise RuntimeError(f"redis-server ended while starting:\n{self._process.log}")
        try:
            with self.client() as client:
                info = client.info()
        except redis.RedisError:
            return False
        if info["process_id"] != self._process.pid:
            raise RuntimeError(f"port {self.port} is held by another Redis, of process {info['process_id']}")
        self.version = info["redis_version"]
        return not info["loading"]

    def stop(self) -> None:
        """An orderly end: data is written."""
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill9()

    def restart(self) -> None:
        """Ends it in order if it still runs, and starts it on the same port and data."""
        self.stop()
        self.start()

    def lose_everything(self) -> None:
        """SIGKILL, and its data is deleted: started again it is empty, as after a failover to an empty replica."""
        self.kill()
        shutil.rmtree(self._folder / "appendonlydir", ignore_errors=True)
        (self._folder / "appendonly.aof").unlink(missing_ok=True)  # where Redis before 7 keeps it

    def close(self) -> None:
        """Ends it and deletes its data."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def empty(self) -> str:
        """Deletes everything in it, scripts and functions included, and returns the URL of its database 0."""
        with self.client() as client:
            if client.info("server")["process_id"] != self.pid:
                raise RuntimeError(f"the Redis on port {self.port} is not the one that was started: nothing deleted")
            client.flushall()
        return self.url()


def has_functions(version: str) -> bool:
    """Whether a Redis of that version knows FUNCTION and FCALL."""
    return int(version.partition(".")[0]) >= 7


class GivenRedis:
    """A Redis that someone else runs: only the database that its URL names is used, and only if it was empty."""

    def __init__(self, url: str, variable: str) -> None:
        """Looks at it.

        Args:
            url: with the number of a database that may be emptied.
            variable: the environment variable that gave it, for messages.

        Raises:
            RuntimeError: it does not answer, or that database holds something.
        """
        self._url = url
        parts = urlsplit(url)
        shown = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        self.how = f"{variable}={shown}"
        try:
            with self.client() as client:
                self.version = str(client.info("server")["redis_version"])
                keys = client.dbsize()
        except redis.RedisError as error:
            raise RuntimeError(f"the Redis of {self.how} does not answer: {error}") from error
        if keys:
            raise RuntimeError(f"the Redis of {self.how} holds {keys} keys and would be emptied: name a free database")

    def url(self, db: int | None = None) -> str:
        if db is not None and f"/{db}" != urlsplit(self._url).path:
            raise RuntimeError(f"only the database of {self.how} may be used")
        return self._url

    def client(self) -> redis.Redis:
        return connect(self._url)

    def empty(self) -> str:
        """Empties its one database and returns the URL."""
        with self.client() as client:
            client.flushdb()
        return self._url

    def close(self) -> None:
        """Leaves it empty, and running."""
        self.empty()
