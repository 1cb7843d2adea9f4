"""The URL schemes of our transports, beside those of the Redis they lead to."""

from __future__ import annotations

#: Before the schemes of Redis: kombu's transport, mended (see `stock`).
STOCK_PREFIX = "events-"

_STREAMS = {
    "redis://": "redis-streams://",
    "rediss://": "rediss-streams://",
    "redis+socket://": "redis-streams+socket://",  # kombu: the transport before the plus sign, the address after it
}


def with_streams(url: str) -> str:
    """The broker URL under the transport over Redis Streams, where it is that of a Redis."""
    for plain, streams in _STREAMS.items():
        if url.startswith(plain):
            return streams + url.removeprefix(plain)
    return url


def with_stock(url: str) -> str:
    """The broker URL under kombu's transport, mended, where it is that of a Redis."""
    return STOCK_PREFIX + url if url.startswith(tuple(_STREAMS)) else url


def is_streams(url: str) -> bool:
    """Whether the URL names the transport over Redis Streams."""
    return url.partition("://")[0].partition("+")[0].endswith("-streams")


def is_ours(url: str) -> bool:
    """Whether the URL names one of our transports."""
    return url.startswith(STOCK_PREFIX) or is_streams(url)


def plain(url: str) -> str:
    """The URL without what names our transports: the address of the Redis in kombu's form."""
    url = url.removeprefix(STOCK_PREFIX)
    for address, streams in _STREAMS.items():
        if url.startswith(streams):
            return address + url.removeprefix(streams)
    return url
