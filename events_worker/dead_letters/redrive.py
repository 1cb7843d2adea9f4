"""Redrive: a dead letter becomes a delivery again, of the next generation."""

from __future__ import annotations

from uuid import UUID

from events_core import EventSystem
from events_core.errors import EventsError
from events_core.ids import delivery_id
from events_core.publishing.stored import StoredMessage
from events_worker.dead_letters.letter import DeadLetter
from events_worker.dead_letters.store import DeadLetters
from events_worker.run import MEMBER_HEADER

#: Seconds that one who redrives a letter has it to himself.
_LEASE = 60.0


class NotRedrivable(EventsError):
    """The letter holds no delivery that could be sent again."""


def redrive(system: EventSystem, letters: DeadLetters, letter: DeadLetter) -> str | None:
    """Send the delivery again as the next generation, confirmed, and then forget the letter.

    Returns the new delivery's id; None if someone else is redriving it. Raises NotRedrivable for what is no delivery,
    EmitError when the broker does not confirm: the letter stays.
    """
    message = next_generation(system, letter)
    if not letters.lease(letter, _LEASE):
        return None
    try:
        system.emitter.publish([message.message()])
    except BaseException:
        letters.release(letter)
        raise
    letters.remove(letter)
    return str(message.headers["id"])


def next_generation(system: EventSystem, letter: DeadLetter) -> StoredMessage:
    """The message of the letter's next generation: fresh attempts, an id of its own, the handler's present queue."""
    message = letter.stored_message()
    if message is None or letter.event_id is None or letter.handler is None:
        raise NotRedrivable(f"{letter.id} is no delivery ({letter.reason}): look at it, then discard it")
    spec = system.event_map.find(letter.handler)
    handler = letter.handler if spec is None else spec.name
    generation = letter.generation + 1
    own = ("events-run", "events-starts", "events-dangers", "events-first-at", "events-held-since", "events-copy")
    headers = {name: value for name, value in message.headers.items() if name not in own} | {
        "id": delivery_id(UUID(letter.event_id), handler, generation),
        "events-attempt": 1,
        "events-generation": generation,
    }
    if (member := letter.member) is not None:
        headers[MEMBER_HEADER] = member
    queue = message.queue if spec is None else system.messages.queue_of(spec)
    return StoredMessage(handler, queue, headers, message.body)
