"""The server of a message broker, as AsyncAPI names it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from events_core.brokers.base import MessageBroker
from events_core.describing.walk import Schema

#: URL schemes, the protocol's name in AsyncAPI, its port, and its version.
_PROTOCOLS = {
    "amqp": ("amqp", 5672, "0.9.1"),
    "pyamqp": ("amqp", 5672, "0.9.1"),
    "amqps": ("amqps", 5671, "0.9.1"),
    "redis": ("redis", 6379, None),
    "rediss": ("rediss", 6379, None),
}


@dataclass(frozen=True, slots=True)
class Server:
    """path: the vhost of RabbitMQ, the number of Redis's database."""

    protocol: str
    host: str
    path: str
    protocol_version: str | None

    @classmethod
    def of(cls, broker: MessageBroker) -> Server | None:
        """None where there is none that others could reach."""
        parts = urlsplit(broker.server())
        if parts.scheme not in _PROTOCOLS:
            return None
        protocol, port, version = _PROTOCOLS[parts.scheme]
        host = parts.hostname or "localhost"
        shown = f"[{host}]" if ":" in host else host
        return cls(protocol, f"{shown}:{parts.port or port}", unquote(parts.path.removeprefix("/")), version)

    @property
    def is_amqp(self) -> bool:
        """Whether it speaks AMQP 0-9-1."""
        return self.protocol in ("amqp", "amqps")

    @property
    def vhost(self) -> str:
        """RabbitMQ's."""
        return self.path or "/"

    def described(self) -> Schema:
        """As AsyncAPI's Server Object."""
        made = {"host": self.host, "protocol": self.protocol}
        if self.protocol_version is not None:
            made["protocolVersion"] = self.protocol_version
        return made | ({"pathname": f"/{self.path}"} if self.path.strip("/") else {})
