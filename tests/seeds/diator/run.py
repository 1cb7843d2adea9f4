"""What diator's page says, done: ends with 0 where all of it holds."""

from __future__ import annotations

import asyncio
import json
import os

import pytest
import redis

from events_core.mediator import Mediator
from tests.seeds.diator import app
from tests.seeds.record import said
from tests.support.waiting import wait_until

COMMAND = app.JoinMeetingCommand(meeting_id=7, user_id=123)


async def send_by(mediator: Mediator) -> None:
    await mediator.send(COMMAND)


def without_a_broker() -> None:
    words = "To use NotificationEvent, message_broker argument must be specified."
    with pytest.raises(RuntimeError, match=words):
        asyncio.run(send_by(app.mediator))


def with_one() -> None:
    with redis.Redis.from_url(os.environ["EVENTS_BROKER_URL"]) as client, client.pubsub() as heard:
        heard.psubscribe("python_diator_channel:notification_event:*")
        assert heard.get_message(timeout=10)["type"] == "psubscribe"
        mediator = Mediator(event_emitter=app.event_emitter, request_map=app.request_map, container=app.container)
        asyncio.run(send_by(mediator))
        message = wait_until(lambda: heard.get_message(timeout=1), what="the notification event")
    written = json.loads(message["data"])
    assert message["channel"].decode() == f"python_diator_channel:notification_event:{written['message_id']}"
    assert sorted(written) == ["message_id", "message_name", "message_type", "payload"]
    assert (written["message_type"], written["message_name"]) == ("notification_event", "UserJoinedNotificationEvent")
    assert sorted(written["payload"]) == ["event_id", "event_timestamp", "user_id"]
    assert written["payload"]["user_id"] == 123


if __name__ == "__main__":
    without_a_broker()
    with_one()
    ran = wait_until(lambda: found if len(found := said()) >= 4 else [], what="both handlers")
    # Both commands ran; of the first nothing was emitted, and its handlers have heard nothing.
    assert ran.count(["joined", 7, 123]) == 2
    assert ran.count(["notified", 7, "New user joined!"]) == 1
    assert ran.count(["another", 123]) == 1
