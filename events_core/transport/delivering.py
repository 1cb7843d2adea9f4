"""Handing over messages that are ours: never so many that the event loop waits."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from events_core.transport.payload import decode

if TYPE_CHECKING:
    from events_core.transport.channel import Channel
    from events_core.transport.reading import Read

#: Seconds of one turn: acknowledgements, signals and remote control are heard only between two turns.
TURN = 0.003
#: How often a message was delivered in vain: RabbitMQ's name and meaning (quorum queues).
COUNT_HEADER = "x-delivery-count"


def deliver(channel: Channel, seconds: float = 0.0) -> bool:
    """Deliver buffered messages for so many seconds, one at least. Returns whether there was one.

    The prefetch window is kept, and a queue that is not consumed any more gets its messages back.
    """
    buffer, qos, callbacks = channel.buffer, channel.qos, channel.connection._callbacks
    if channel.delivering is not None or not buffer:
        return False
    delivered = False
    until = monotonic() + seconds
    try:
        while buffer and qos.can_consume() and not (delivered and monotonic() >= until):
            channel.delivering = buffer[0]  # held, in whatever moment another thread asks
            tag, queue, *_ = buffer.popleft()
            if queue in callbacks:
                delivered = True
                if queue in channel.unacknowledged:
                    channel.member.acknowledgements.add(tag)
                channel.connection._deliver(message(channel, channel.delivering), queue)
            else:
                channel.member.give_back([tag])
    finally:
        channel.delivering = None
    return delivered


def message(channel: Channel, read: Read) -> dict[str, Any]:
    """A message as kombu's channels take it."""
    tag, queue, raw, in_vain = read
    payload = decode(raw, queue, channel.decode_body)
    properties = payload["properties"]
    properties["delivery_tag"] = tag
    payload["headers"].pop(COUNT_HEADER, None)  # one that a message was sent on with
    if in_vain is not None:
        properties["delivery_info"]["redelivered"] = True
        if in_vain:
            payload["headers"][COUNT_HEADER] = in_vain
    return payload
