"""@events.subscriber on real servers with a real worker: another service's events become ordinary deliveries, once."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from events_core.brokers import Subscription
from events_core.ids import delivery_id
from events_worker.subscriptions.keys import queues_key
from tests.apps import subscribing as app
from tests.apps.subscription_rig import SubscriptionRig, subscription_rig
from tests.support.exchanges import connection_to
from tests.support.waiting import wait_until

BROKERS = pytest.mark.parametrize("broker", ["redis", "rabbitmq"])


def starts(sub: SubscriptionRig, tag: str, what: str) -> int:
    return len(sub.rig.records(tag, what))


def settled(sub: SubscriptionRig, event_ids: list[Any], handler: str) -> list[Any]:
    """Which of the deliveries that these events make the ledger knows as done."""
    client, key = sub.rig.parts.coordination.client, sub.rig.parts.ledger.key
    ids = [delivery_id(event_id, f"tests.apps.subscribing.{handler}") for event_id in event_ids]
    return [client.hget(key(one), "how") for one in ids]


@pytest.mark.parametrize(
    "broker, pool", [("redis", "prefork"), ("redis", "solo"), ("rabbitmq", "threads"), ("rabbitmq", "prefork")]
)
def test_an_event_reaches_every_subscriber_once(
    broker: str, pool: str, redis_server: Any, rabbitmq_server: Any
) -> None:
    """Each of two subscribers on one queue gets its delivery, the ordered one in order; a failing one is retried; what
    they emit goes out again; an event of a type that only one asked for reaches only that one. Sent while no worker is
    there, events wait in the queue, which has been bound since the first one.
    """
    with subscription_rig(broker, redis_server, rabbitmq_server) as sub:
        sub.worker(pool, 2)
        sub.orders.emit_many([app.Confirmed(tag="t", number=number) for number in range(10)])
        sub.orders.emit_many([app.Cancelled(tag="t", number=10), app.Cancelled(tag="late", number=3)])
        sub.rig.wait_for_records("t", 10, "shipped")
        sub.rig.wait_for_records("t", 10, "booked")
        sub.rig.wait_for_records("late", 1, "slowly")
        sub.rig.wait_for_rest()
        sub.rig.kill_workers()
        sub.orders.emit(app.Confirmed(tag="away"))
        sub.worker(pool, 2)
        sub.rig.wait_for_records("away", 1, "shipped")
        booked = sub.rig.wait_for_records("t", 11, "booked")
        assert [line["number"] for line in booked] == [*range(11)]
        assert sorted(line["number"] for line in sub.rig.records("t", "shipped")) == [*range(10)]
        assert starts(sub, "t", "ship") == 10
        assert starts(sub, "late", "slow") == 3
        assert sub.rig.letters() == []


@BROKERS
def test_what_happened_is_counted(broker: str, redis_server: Any, rabbitmq_server: Any) -> None:
    """Messages and deliveries of each queue, and `events subscriptions` tells of them, also as JSON."""
    with subscription_rig(broker, redis_server, rabbitmq_server) as sub:
        sub.worker("threads", 2)
        sub.orders.emit_many([app.Confirmed(tag="t", number=number) for number in (5, 6, 7)])
        sub.put(b"garbage")
        sub.put(json.dumps({"specversion": "1.0"}).encode(), content_type="application/cloudevents+json")
        wait_until(lambda: sub.counts()["received"] == 5, what="five messages")
        counts = sub.counts()
        assert (counts["delivered"], counts["undecodable"], counts["skipped"]) == (6, 2, 0)
        shown = json.loads(sub.rig.events("subscriptions", "--json").stdout)
        orders = next(one for one in shown["subscriptions"] if one["queue"] == sub.queue("orders"))
        assert orders["counts"] == counts
        assert orders["topics"] == ["orders"]
        assert orders["events"] == ["order.approved", "order.cancelled", "order.labelled"]
        assert orders["handlers"] == [f"tests.apps.subscribing.{name}" for name in ("ship", "book", "label")]
        assert len(orders["consumers"]) == 1
        assert shown["left_behind"] == []
        table = sub.rig.events("subscriptions").stdout
        assert sub.queue("orders") in table
        assert "undecodable" in table


@BROKERS
@pytest.mark.contract  # another worker takes over after seconds
def test_killed_between_publishing_and_acknowledging(broker: str, redis_server: Any, rabbitmq_server: Any) -> None:
    """The worker dies by SIGKILL with all deliveries confirmed and no message acknowledged. The messages come again,
    and make deliveries of the same ids: each handler has run once for each event, and the ledger knows them as done.

    That worker takes no deliveries itself: a handler that it had begun would be begun again.
    """
    with subscription_rig(broker, redis_server, rabbitmq_server) as sub:
        dying = sub.worker("threads", 2, env={"TEST_DIE": "orders"}, queues=["nothing"])
        emissions = sub.orders.emit_many([app.Confirmed(tag="t", number=number + 10) for number in range(20)])
        wait_until(lambda: not dying.alive, what="the worker to be dead")
        assert sub.counts()["received"] == 0  # nothing was acknowledged
        assert sub.rig.queue_length() > 0  # but published
        sub.worker("threads", 2)
        wait_until(lambda: sub.counts()["received"] == 20, 60, "the messages to come again")
        ids = [emission.event_id for emission in emissions]
        for handler in ("ship", "book"):
            wait_until(lambda handler=handler: settled(sub, ids, handler) == ["done"] * 20, 60, f"{handler} done")  # type: ignore[misc]
        sub.rig.wait_for_empty_queue()
        wait_until(lambda: sub.rig.scheduled() == 0, what="no copy to wait")
        assert sorted(line["number"] for line in sub.rig.records("t", "shipped")) == [*range(10, 30)]
        assert starts(sub, "t", "ship") == 20
        assert starts(sub, "t", "booked") == 20


def test_a_second_message_waits_for_the_first_ones_run(redis_server: Any, rabbitmq_server: Any) -> None:
    """The same event comes twice, as a producer sends it that has heard no answer; the second finds the handler
    running, starts nothing, and ends when that has succeeded.
    """
    with subscription_rig("rabbitmq", redis_server, rabbitmq_server) as sub:
        sub.worker("threads", 4)
        event = app.Cancelled(tag="t", number=2)
        sub.orders.emit(event)
        sub.rig.wait_for_records("t", 1, "slow")
        sub.orders.emit(event)
        wait_until(lambda: sub.rig.scheduled() == 1, what="the copy to wait")
        sub.rig.open_gate("t")
        sub.rig.wait_for_records("t", 1, "slowly")
        wait_until(lambda: sub.rig.scheduled() == 0 and sub.rig.queue_length() == 0, what="the copy to be gone")
        assert starts(sub, "t", "slow") == 1
        assert settled(sub, [event.event_id], "slow") == ["done"]


@BROKERS
def test_a_changed_list_of_events_unbinds_what_went(broker: str, redis_server: Any, rabbitmq_server: Any) -> None:
    """The newer code asks for cancellations on the queue, the older one does not: after a roll back none comes in, and
    the counts show that none was even received.
    """
    with subscription_rig(broker, redis_server, rabbitmq_server) as sub:
        new = sub.worker("threads", 1)
        sub.orders.emit(app.Cancelled(tag="t"))
        sub.rig.wait_for_records("t", 1, "booked")
        wait_until(lambda: sub.counts()["received"] == 1, what="it to be counted")
        assert new.terminate(30) == 0
        old = sub.worker("threads", 1, env={"TEST_DEPLOY": "old"})
        sub.wait_until_bound({"order.approved", "order.labelled"})
        sub.orders.emit_many([app.Cancelled(tag="t"), app.Confirmed(tag="t")])
        sub.rig.wait_for_records("t", 1, "shipped")
        wait_until(lambda: sub.counts()["received"] == 2, what="the confirmation to be counted")
        assert sub.counts()["skipped"] == 0
        assert old.alive


@BROKERS
def test_what_only_a_newer_worker_asks_for_is_not_lost(broker: str, redis_server: Any, rabbitmq_server: Any) -> None:
    """In the middle of a deploy the older worker takes events from the shared queue that only the newer one has a
    subscriber for, and both have others: it makes the newer one's deliveries too, which wait until that runs again. So
    do those of versions that only the newer one knows, for a handler that both have. It does not unbind what the newer
    one has bound, though it starts later.
    """
    with subscription_rig(broker, redis_server, rabbitmq_server) as sub:
        new = sub.worker("threads", 2, env={"TEST_CLAIM_AFTER": "30"})  # it stands still for a moment, and is not dead
        old = sub.worker("threads", 2, env={"TEST_DEPLOY": "old", "TEST_CLAIM_AFTER": "30"})
        wait_until(lambda: len(sub.consumers()) == 2, what="both to listen")
        if broker == "rabbitmq":  # it gives to each its share, of those that are connected
            wait_until(lambda: consumer_count(sub) == 2, what="both to be connected")
        os.kill(new.pid, signal.SIGSTOP)
        sub.orders.emit_many([app.Confirmed(tag="t", number=number) for number in range(0, 12, 2)])
        sub.orders.emit_many([app.Cancelled(tag="t", number=number) for number in range(1, 12, 2)])
        sub.orders.emit_many([app.LabelledBetter(tag="v2", labels=["x", str(number)]) for number in range(4)])
        wait_until(lambda: sub.counts()["received"] >= 8, what="the older one to take its share")
        os.kill(new.pid, signal.SIGCONT)
        sub.rig.wait_for_records("t", 12, "booked", timeout=90)
        wait_until(lambda: starts(sub, "t", "shipped") == 6, what="all to be shipped")
        assert sorted(line["number"] for line in sub.rig.records("t", "booked")) == [*range(12)]
        labelled = sub.rig.wait_for_records("v2", 4, "labelled", timeout=60)
        assert [line["version"] for line in labelled] == [2] * 4
        assert sub.counts()["skipped"] == 0
        assert sub.rig.letters() == []
        assert old.alive


def consumer_count(sub: SubscriptionRig) -> int:
    with connection_to(sub.url) as connection:
        declared = connection.default_channel.queue_declare(sub.queue("orders"), passive=True)
        return int(declared.consumer_count)


def test_commands_know_subscribers(redis_server: Any) -> None:
    """`events map` shows them beside every version of their events, `events check` among the handlers, without an
    error; a queue that was left behind is shown, and deleted on request, but none that is asked for.
    """
    with subscription_rig("redis", redis_server) as sub:
        mapped = {
            (event["event_type"], event["version"]): [
                handler["name"].rpartition(".")[2] for handler in event["handlers"]
            ]
            for event in json.loads(sub.rig.events("map", "--json").stdout)
        }
        assert mapped["order.approved", 1] == ["ship", "book"]
        assert mapped["order.labelled", 1] == mapped["order.labelled", 2] == ["label"]
        assert mapped["order.packed", 1] == ["packed"]
        checked = json.loads(sub.rig.events("check", "--json").stdout)
        assert ("tests.apps.subscribing.ship", "order.approved") in {
            (handler["name"], handler["event"]) for handler in checked["handlers"]
        }
        assert [finding for finding in checked["findings"] if finding["level"] == "error"] == []
        left = Subscription("left.orders", frozenset({("orders", "notification_event.order.approved")}))
        coordination = sub.rig.parts.coordination
        sub.broker.declare(left)
        coordination.client.sadd(queues_key(coordination), left.queue)
        assert "left.orders: no subscriber names it any more" in sub.rig.events("subscriptions").stdout
        refused = sub.rig.events("subscriptions", "--delete", "slow.orders")
        assert refused.returncode == 1
        assert "is no queue that was left behind" in refused.stderr
        deleted = sub.rig.events("subscriptions", "--delete", left.queue, "--json")
        assert json.loads(deleted.stdout)["left_behind"] == []
        sub.orders.emit(app.Shipped(tag="t"))  # nobody listens to it
        sub.orders.emit(app.Confirmed(tag="t"))
        assert sub.broker.unroutable_count == 2


def test_what_is_known_of_a_done_delivery_is_forgotten_soon(redis_server: Any) -> None:
    """There is one key for each delivery: an hour, not the 7 days of those that were retried."""
    with subscription_rig("redis", redis_server) as sub:
        sub.worker("threads", 2)
        done = sub.orders.emit(app.Cancelled(tag="done"))
        retried = sub.orders.emit(app.Cancelled(tag="retried", number=3))
        ids = [done.event_id, retried.event_id]
        wait_until(lambda: settled(sub, ids, "slow") == ["done"] * 2, what="both to be done")
        key = sub.rig.parts.ledger.key
        left = [
            sub.rig.parts.coordination.client.ttl(key(delivery_id(one, "tests.apps.subscribing.slow"))) for one in ids
        ]
        assert 0 < left[0] <= 3600 < left[1]
