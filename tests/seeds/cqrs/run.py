"""What python-cqrs's page says, done: ends with 0 where all of it holds."""

from __future__ import annotations

import asyncio

from events_core.mediator import Mediator
from tests.seeds.cqrs import app
from tests.seeds.record import said
from tests.support.waiting import wait_until


async def main() -> None:
    # The page's own lines: they have waited for the handlers, which ran in the worker.
    await app.OwnMediator().send(app.JoinMeetingCommand(meeting_id=7, user_id=1))
    assert sorted(said()) == [["count", 7], ["welcome", 1]]
    # The whole flow.
    mediator = Mediator(event_emitter=app.emitter, request_map=app.request_map)
    assert await mediator.send(app.JoinMeetingCommand(meeting_id=8, user_id=2)) is None
    assert app.STORAGE == {7: [1], 8: [2]}


if __name__ == "__main__":
    asyncio.run(main())
    wait_until(lambda: len(said()) == 4, what="the handlers of the second command")
