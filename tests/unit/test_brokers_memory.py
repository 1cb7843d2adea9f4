"""InMemoryBroker and the parts that brokers share, without a server."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events_core import ECSTEvent, NotificationEvent, brokers
from events_core.brokers import InMemoryBroker, Received, Subscription, matching, unheard
from events_core.brokers.matching import matches, wanted
from events_core.brokers.redis_window import Window
from events_core.brokers.unheard import Unheard
from events_core.envelope import Envelope


class Sent(NotificationEvent, event_type="memory.sent"):
    number: int


class Kept(ECSTEvent, event_type="memory.kept"):
    number: int


QUEUE = Subscription("q", frozenset({("t", "#")}))


def publish(broker: InMemoryBroker, *events: Sent | Kept) -> None:
    broker.publish([broker.message(event, Envelope.of(event), "t") for event in events], 1)


def test_every_public_name_is_there() -> None:
    for name in brokers.__all__:
        assert getattr(brokers, name).__name__ == name
    with pytest.raises(AttributeError, match="KafkaBroker"):
        _ = brokers.KafkaBroker  # as its name is not there


def test_a_test_sees_what_was_published() -> None:
    broker = InMemoryBroker()
    broker.declare(QUEUE)
    events = [Sent(number=1), Kept(number=2)]
    publish(broker, *events)
    assert broker.events == events
    assert [(message.topic, message.routing_key) for message in broker.published] == [
        ("t", "notification_event.memory.sent"),
        ("t", "ecst_event.memory.kept"),
    ]
    assert (broker.waiting("q"), broker.waiting("other")) == (2, 0)
    broker.published.clear()
    assert broker.events == []
    assert broker.waiting("q") == 2


def test_what_is_given_back_has_its_old_place() -> None:
    broker = InMemoryBroker()
    first, second = broker.receiver(QUEUE, prefetch=2), broker.receiver(QUEUE, prefetch=2)
    assert first.receive(0) == second.receive(0) == []
    publish(broker, *(Sent(number=number) for number in range(4)))
    held = first.receive(1)
    assert len(second.receive(1)) == 2
    second.close()
    first.give_back(held)
    assert [message.tag for message in first.receive(1)] == [message.tag for message in held]


def test_a_queue_of_one_consumer_goes_with_it() -> None:
    broker = InMemoryBroker()
    own = Subscription("own", QUEUE.bindings, lasting=False)
    receiver = broker.receiver(own)
    receiver.receive(0)
    publish(broker, Sent(number=1))
    assert broker.waiting("own") == 1
    receiver.close()
    publish(broker, Sent(number=2))
    assert broker.waiting("own") == 0


def test_a_forked_child_has_a_copy_even_if_a_thread_holds_the_lock() -> None:
    broker = InMemoryBroker()
    broker.declare(QUEUE)
    with broker._changed:
        pid = os.fork()
        if not pid:
            publish(broker, Sent(number=1))
            os._exit(broker.waiting("q"))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    assert broker.waiting("q") == 0


@pytest.mark.parametrize(
    "pattern, key, expected",
    [
        ("a.b", "a.b", True),
        ("a.b", "a.b.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a", False),
        ("a.*", "a.b.c", False),
        ("*.b", "a.b", True),
        ("a.#", "a", True),
        ("a.#", "a.b.c", True),
        ("#", "", True),
        ("#", "a.b", True),
        ("#.c", "a.b.c", True),
        ("#.c", "c", True),
        ("a.#.d", "a.b.c.d", True),
        ("a.#.d", "a.d", True),
        ("a.#.*", "a", False),
        ("#.#", "a", True),
        ("a.b*", "a.bc", False),  # a star is a word, not a part of one
        ("a.b", "axb", False),
    ],
)
def test_routing_keys_match_as_in_amqp(pattern: str, key: str, expected: bool) -> None:
    assert matches(pattern, key) is expected


@given(
    st.lists(st.sampled_from(["a", "b", "*", "#"]), min_size=1, max_size=5), st.lists(st.sampled_from("ab"), min_size=1)
)
def test_matching_ends_and_a_key_matches_itself(pattern: list[str], words: list[str]) -> None:
    key = ".".join(words)
    assert matches(key, key)
    assert matches("#", key)
    if matches(".".join(pattern), key):
        assert matches(".".join(["#", *pattern]), key)
        assert len([word for word in pattern if word != "#"]) <= len(words)


def test_matching_what_a_stranger_sends_takes_no_more_than_its_length() -> None:
    """Trying each way to share the words out would never end; and a long key is not remembered."""
    words = ".".join(["a"] * 1000)
    before = matching._known.cache_info()
    assert not matches("#.*.#.*.#.*.#.*.#.*.b", words)
    assert matches("#.*.#.*.#.*.#.*.#.*.b", f"{words}.b")
    assert matching._known.cache_info() == before


def test_a_binding_is_for_its_topic() -> None:
    assert wanted({("t", "a.*")}, "t", "a.b")
    assert not wanted({("t", "a.*")}, "other", "a.b")


def test_unheard_events_do_not_fill_the_log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Unheard("it is dropped")
    for _ in range(5):
        told.unheard([("t", "a"), ("t", "b"), ("t", "a")])
    assert [record.getMessage() for record in caplog.records] == [
        "nobody is bound to a of topic t: it is dropped",
        "nobody is bound to b of topic t: it is dropped",
    ]
    told.heard([("t", "a")])
    told.unheard([("t", "a"), ("t", "b")])
    assert len(caplog.records) == 3
    monkeypatch.setattr(unheard, "_AGAIN", 0.0)
    told.unheard([("t", "b")])
    assert len(caplog.records) == 4


def test_a_window_hands_out_no_more_than_it_may() -> None:
    window = Window(2)
    window.add([Received(b"", tag=number) for number in range(4)])
    first = window.take()
    assert [message.tag for message in first] == [0, 1]
    assert (window.take(), window.free) == ([], -2)
    window.take_back(first[1:])
    assert [(m.tag, m.redelivered) for m in window.take()] == [(1, True)]
    assert window.settle(first) == first
    assert window.settle(first) == []
    assert [message.tag for message in window.take()] == [2, 3]
    assert window.holds(3)
    assert not window.holds(0)
    window.take_all_back()
    assert [message.tag for message in window.take()] == [2, 3]
    window.forget_out()
    assert (window.held, window.free) == ([], 2)
