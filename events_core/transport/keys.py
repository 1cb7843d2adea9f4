"""What the transport keeps in Redis, by name. All keys begin with kombu's `global_keyprefix`.

``stream:{queue}``, and for further priorities ``stream:{queue}{sep}{step}``: the messages, each entry with the one
field `m`, which is the JSON that kombu's own transport would push to a list. What is acknowledged is deleted.
``streams:alive``: until when each consuming process is presumed alive, in milliseconds of the server's clock.
"""

from __future__ import annotations

#: The one consumer group of each stream. Its pending entries are what was delivered and is not acknowledged.
GROUP = "workers"
#: The consumer in whose name lies what was given back: it is read before anything else, by anyone.
RETURNED = "returned"
#: The field of an entry that holds the message.
FIELD = "m"
_STREAM = "stream:"
_ALIVE = "streams:alive"
# No entry id has one; a queue's name may.
_BETWEEN = "|"


def stream_key(prefix: str, queue: str) -> str:
    """The stream of a queue's most urgent messages. prefix: kombu's `global_keyprefix`."""
    return f"{prefix}{_STREAM}{queue}"


def alive_key(prefix: str) -> str:
    """The sorted set of the consuming processes."""
    return prefix + _ALIVE


def tag_of(stream: str, entry: str) -> str:
    """The delivery tag of an entry: where it lies."""
    return f"{stream}{_BETWEEN}{entry}"


def entry_of(tag: str) -> tuple[str, str]:
    """The stream and the entry's id that a delivery tag stands for."""
    stream, _, entry = tag.rpartition(_BETWEEN)
    return stream, entry


def by_stream(tags: list[str]) -> dict[str, list[str]]:
    """The entries' ids of delivery tags, by stream; without what came by fanout, which lies nowhere."""
    entries: dict[str, list[str]] = {}
    for tag in tags:
        stream, entry = entry_of(tag)
        if stream:
            entries.setdefault(stream, []).append(entry)
    return entries
