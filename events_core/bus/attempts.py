"""Running the handlers of one event: each with attempts of its own."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from events_core.bus.consumers import Handler, call
from events_core.events import IntegrationEvent
from events_core.policies import GiveUp, Retry, RetryLater

logger = logging.getLogger(__name__)
_BUS = str(Path(__file__).parent)


@dataclass(frozen=True, slots=True)
class Failure:
    """A handler that failed for good."""

    handler: str
    reason: str
    error: BaseException

    def __str__(self) -> str:
        # Where it failed, without the text of the exception: it may quote the event.
        frames = [f for f in traceback.extract_tb(self.error.__traceback__) if not f.filename.startswith(_BUS)]
        where = "".join(traceback.format_list(frames))
        return f"{self.handler} {self.reason}: {type(self.error).__name__}\n{where}".rstrip()


async def run_all(
    handlers: Sequence[Handler], event: IntegrationEvent, retry: Retry | None, on_retry: Callable[[], None]
) -> list[Failure]:
    """Run the handlers in order, and those that failed again as `retry` says; returns what failed for good."""
    failures: list[Failure] = []
    left = [(handler, 1) for handler in handlers]
    while left:
        again: list[tuple[Handler, int]] = []
        pause = 0.0
        for handler, attempt in left:
            error = await _run(handler, event)
            if error is None:
                continue
            seconds = _pause(error, retry, attempt)
            if isinstance(seconds, str):
                failures.append(Failure(_name(handler), seconds, error))
                continue
            logger.warning(
                "%s %s: %s failed (%s), again in %.1f s",
                event.event_type, event.event_id, _name(handler), type(error).__name__, seconds,
            )  # fmt: skip
            on_retry()
            again.append((handler, attempt if isinstance(error, RetryLater) else attempt + 1))
            pause = max(pause, seconds)
        if again:
            await asyncio.sleep(pause)
        left = again
    return failures


async def _run(handler: Handler, event: IntegrationEvent) -> BaseException | None:
    try:
        await call(handler, event)
    except (SystemExit, KeyboardInterrupt, GeneratorExit):
        raise  # the process ends, or the loop
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise  # the bus shuts down
        return _Cancelled().with_traceback(error.__traceback__)  # something that it awaited was
    except BaseException as error:  # given back, what is no Exception would come again at once, for ever
        return error
    return None


class _Cancelled(Exception):
    """Something that the handler awaited was cancelled."""


def _pause(error: BaseException, retry: Retry | None, attempt: int) -> float | str:
    """Seconds until the next attempt, or why there is none."""
    if isinstance(error, RetryLater):
        return error.seconds
    if isinstance(error, GiveUp):
        return "gave_up"
    if retry is None or attempt >= retry.max_attempts:
        return "exhausted"
    return retry.delay(attempt) if retry.retries(error) else "gave_up"


def _name(handler: Handler) -> str:
    return getattr(handler, "__qualname__", type(handler).__qualname__)
