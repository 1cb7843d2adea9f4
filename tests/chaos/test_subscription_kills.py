"""SIGKILL to workers that listen to another service, at whatever they are doing: no event is lost."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest

from tests.apps import subscribing as app
from tests.apps.subscription_rig import subscription_rig
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

KILLS, EVENTS = 8, 1_500


@pytest.mark.parametrize("pool", ["threads", "prefork"])
@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_workers_are_killed_while_events_flow(broker: str, pool: str, redis_server: Any, rabbitmq_server: Any) -> None:
    """Two workers, of which one or the other is killed again and again while events and garbage come in: every event
    reaches both subscribers of the queue, the garbage is kept, and nothing is left anywhere.
    """
    dice = random.Random(f"{broker}{pool}")
    with subscription_rig(broker, redis_server, rabbitmq_server) as sub:
        workers = [sub.worker(pool, 2) for _ in range(2)]
        pause = threading.Event()

        def emit() -> None:
            for start in range(0, EVENTS, 10):
                sub.orders.emit_many([app.Confirmed(tag="t", number=start + one + 10) for one in range(10)])
                if start % 100 == 0:
                    sub.put(b"garbage")
                pause.wait(dice.random() * 0.2)

        emitting = threading.Thread(target=emit)
        emitting.start()
        for _ in range(KILLS):
            pause.wait(0.5 + dice.random())
            index = dice.randrange(2)
            workers[index].kill9()
            workers[index] = sub.worker(pool, 2, listening=False)
        emitting.join()
        everything = {*range(10, EVENTS + 10)}
        for what in ("shipped", "booked"):
            wait_until(
                lambda what=what: {line["number"] for line in sub.rig.records("t", what)} == everything,  # type: ignore[misc]
                180,
                f"all events to be {what}",
            )
        wait_until(lambda: len(sub.rig.letters(reason="undecodable")) >= EVENTS // 100, 60, "the garbage")
        wait_until(lambda: sub.rig.queue_length() == 0 and sub.rig.scheduled() == 0, 120, "nothing to be left")
        assert {letter.reason for letter in sub.rig.letters()} == {"undecodable"}
