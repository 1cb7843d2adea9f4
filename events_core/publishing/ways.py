"""Publishing in several ways at once: perhaps to different servers, of which one may be there without the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from events_core.errors import EmitError
from events_core.publishing.messages import Carried

#: Seconds that each has at least, however long others of the same call took.
_AT_LEAST = 0.1


def go_each_way(ways: Sequence[Callable[[float], None]], messages: Sequence[Carried], timeout: float) -> None:
    """Go each way, though another one fails.

    ways: each publishes its share of the messages, within the seconds that it is given. timeout: seconds for all of
    them. Raises EmitError, which speaks of all messages.
    """
    if len(ways) == 1:
        ways[0](timeout)
        return
    errors: list[EmitError] = []
    started = time.monotonic()
    for way in ways:
        try:
            way(max(timeout - (time.monotonic() - started), _AT_LEAST))
        except EmitError as error:
            errors.append(error)
    if errors:
        raise _together(errors, messages) from errors[0]


def _together(errors: Sequence[EmitError], messages: Sequence[Carried]) -> EmitError:
    """One error of several, with what became of all messages: what no error speaks of is confirmed."""
    uncertain = [delivery for error in errors for delivery in error.uncertain]
    unsent = [delivery for error in errors for delivery in error.unsent]
    failed = {*uncertain, *unsent}
    confirmed = [message.delivery for message in messages if message.delivery not in failed]
    reason = "; ".join(error.reason for error in errors)
    return EmitError(reason, confirmed=confirmed, uncertain=uncertain, unsent=unsent)
