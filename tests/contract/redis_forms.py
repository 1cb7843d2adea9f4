"""The ways to reach a Redis: TCP, TLS, unix socket, as a named user, another database."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from tests.contract.brokers import SCHEMES, Broker
from tests.support import processes, servers
from tests.support.finding import find
from tests.support.missing import missing
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer

USER, PASSWORD = "named", "p@ss/w:rd"  # what a URL has to quote


@dataclass(frozen=True)
class RedisForms:
    """One Redis of the tests' own that can be reached in every way."""

    server: RedisServer
    tls_port: int
    folder: Path

    @classmethod
    def start(cls) -> RedisForms:
        """Starts it with a certificate made for this run."""
        folder = Path(tempfile.mkdtemp(prefix="events-test-forms-"))
        _make_certificate(folder)
        port = free_port()
        lines = [
            f"tls-port {port}",
            f"tls-cert-file {folder}/cert.pem",
            f"tls-key-file {folder}/key.pem",
            f"tls-ca-cert-file {folder}/cert.pem",
            "tls-auth-clients no",
            f"unixsocket {folder}/redis.sock",
            f"user {USER} on >{PASSWORD} ~* &* +@all",
        ]
        try:
            server = servers.own_redis("\n".join(lines) + "\n")
        except RuntimeError as error:
            if "tls" not in str(error).lower():
                raise
            missing("redis-server was built without TLS: install one that has it (Debian's has)")
        return cls(server, port, folder)

    def close(self) -> None:
        self.server.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def tcp(self, kind: str, db: int = 0) -> Broker:
        return Broker.on_redis(kind, self.server.url(db))

    def as_user(self, kind: str, password: str = PASSWORD) -> Broker:
        """As a user of its access control list."""
        url = f"redis://{USER}:{quote(password, safe='')}@127.0.0.1:{self.server.port}/0"
        return Broker(kind, url.replace("redis://", SCHEMES[kind], 1), self.server.url())

    def unix(self, kind: str, options: str = "") -> Broker:
        """Over its unix socket; options are added to the URL's query."""
        scheme = SCHEMES[kind].removesuffix("://")
        url = f"{scheme}+socket://:{self._password}@{self.folder}/redis.sock?virtual_host=0{options}"
        return Broker(kind, url, self.server.url())

    def tls(self, kind: str, query: str | None = None) -> Broker:
        """Over TLS, the server's certificate verified unless another query is given."""
        if query is None:
            query = f"?ssl_cert_reqs=required&ssl_ca_certs={quote(str(self.folder / 'cert.pem'), safe='')}"
        scheme = SCHEMES[kind].replace("redis", "rediss", 1)
        return Broker(kind, f"{scheme}:{self._password}@localhost:{self.tls_port}/0{query}", self.server.url())

    def sentinel(self, kind: str) -> Broker:
        """By way of a Sentinel, which is started; its transport option is `master_name="main"`."""
        port = free_port()
        config = self.folder / f"sentinel-{port}.conf"
        config.write_text(
            f"bind 127.0.0.1\nport {port}\ndir {self.folder}\n"
            f"sentinel monitor main 127.0.0.1 {self.server.port} 1\nsentinel auth-pass main {self._password}\n"
        )
        binary = find("redis-server", "redis-server")
        assert binary is not None
        process = processes.start([binary.binary, config, "--sentinel"], name="sentinel")
        process.wait_for_log(r"\+monitor master main")
        scheme = "sentinel-streams" if kind == "streams" else "sentinel"
        return Broker(kind, f"{scheme}://:{self._password}@127.0.0.1:{port}/0", self.server.url())

    @property
    def _password(self) -> str:
        return str(urlsplit(self.server.url()).password)


def _make_certificate(folder: Path) -> None:
    openssl = find("openssl", "openssl")
    if openssl is None:
        missing("no openssl to make a certificate with: install it (Debian: apt-get install openssl)")
    key: list[str | Path] = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-keyout",
        folder / "key.pem",
    ]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command: list[str | Path] = [
        openssl.binary,
        "req",
        "-x509",
        *key,
        "-out",
        folder / "cert.pem",
        "-days",
        "2",
        *names,
    ]
    subprocess.run(command, check=True, capture_output=True)
