"""Publishing in several ways at once: perhaps to different servers, of which one may be there without the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from events_core.errors import EmitError, Unroutable
from events_core.publishing.base import unsent
from events_core.publishing.messages import Carried

#: Some messages, and what publishes them within the seconds that it is given.
Way = tuple[Sequence[Carried], Callable[[float], None]]

#: Seconds that each has at least, however long others of the same call took.
_AT_LEAST = 0.1


def go_each_way(ways: Sequence[Way], messages: Sequence[Carried], timeout: float) -> None:
    """Go each way, though another one fails. messages: of all ways, in order. timeout: seconds for all of them.

    Raises EmitError, which speaks of all messages; of a single way, whatever that raises.
    """
    if len(ways) == 1:
        ways[0][1](timeout)
        return
    errors: list[EmitError] = []
    started = time.monotonic()
    for own, publish in ways:
        try:
            publish(max(timeout - (time.monotonic() - started), _AT_LEAST))
        except EmitError as error:
            errors.append(error)
        except Exception as error:  # raised as it is, it would hide what went the other ways
            errors.append(unsent(f"{type(error).__name__}: {error}", own))
    if errors:
        raise together(errors, messages) from errors[0]


def together(errors: Sequence[EmitError], messages: Sequence[Carried]) -> EmitError:
    """One error of several, with what became of all messages: what no error speaks of is confirmed."""
    uncertain = [delivery for error in errors for delivery in error.uncertain]
    not_sent = [delivery for error in errors for delivery in error.unsent]
    failed = {*uncertain, *not_sent}
    confirmed = [message.delivery for message in messages if message.delivery not in failed]
    reason = "; ".join(error.reason for error in errors)
    kind = Unroutable if all(isinstance(error, Unroutable) for error in errors) else EmitError
    return kind(reason, confirmed=confirmed, uncertain=uncertain, unsent=not_sent)
