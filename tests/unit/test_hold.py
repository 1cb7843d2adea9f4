"""EventSystem.hold: what is emitted in the block goes out at its end, in one batch, or not at all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from events_core import DomainEvent, EmitError, EventSystem
from events_core.entities import Entity
from events_core.errors import EmitMisused
from events_core.ids import DerivedIds
from events_core.publishing.messages import Message
from events_core.scope import HandlingScope, handling


class Noted(DomainEvent, event_type="hold.noted"):
    number: int


class Order(Entity):
    pass


class Shop:
    """A system whose broker is a list."""

    def __init__(self, name: str = "hold") -> None:
        self.batches: list[list[Message]] = []
        self.error: Exception | None = None
        self.events = EventSystem(name, broker_url="redis://localhost:1/0")
        self.events.bind(Noted, lambda event: None, name=f"{name}.note")
        self.events._publisher = self

    def publish(self, messages: Sequence[Message], timeout: float) -> None:
        if self.error is not None:
            raise self.error
        self.batches.append(list(messages))

    def close(self) -> None: ...

    @property
    def sizes(self) -> list[int]:
        return [len(batch) for batch in self.batches]


def emit(shop: Shop, *numbers: int, **options: Any) -> None:
    for number in numbers:
        shop.events.emit(Noted(number=number), **options)


def fail(shop: Shop, emitting: Callable[[], Any]) -> None:
    with shop.events.hold():
        emitting()
        raise KeyError


def test_all_of_a_block_is_one_batch_at_its_end() -> None:
    shop = Shop()
    with shop.events.hold():
        emit(shop, 1, 2)
        shop.events.emit_many([Noted(number=3), Noted(number=4)])
        assert shop.batches == []
    assert shop.sizes == [4]
    emit(shop, 5)
    assert shop.sizes == [4, 1]


def test_nothing_of_a_block_that_raises() -> None:
    shop = Shop()
    with pytest.raises(KeyError):
        fail(shop, lambda: emit(shop, 1))
    assert shop.batches == []
    emit(shop, 2)
    assert shop.sizes == [1]


def test_the_outermost_sends_and_a_failed_block_within_it_takes_its_own_along() -> None:
    """So that a service that holds can be called by another one that does."""
    shop = Shop()
    with shop.events.hold():
        with shop.events.hold():
            emit(shop, 1)
        assert shop.batches == []
        with pytest.raises(KeyError):
            fail(shop, lambda: emit(shop, 2))
    assert shop.sizes == [1]


def test_a_block_that_fails_in_a_handler_emits_nothing_of_it() -> None:
    """Although the handler catches the error, and succeeds."""
    shop = Shop()
    event = Noted(number=0)
    scope = HandlingScope("d", "d", _envelope(event), "x")
    with handling(scope, DerivedIds("d", event.event_id, event.occurred_at)):
        with pytest.raises(KeyError):
            fail(shop, lambda: emit(shop, 1))
        emit(shop, 2)
    assert len(scope.held) == 1


def test_one_block_is_entered_once() -> None:
    """Two requests that share it would get each other's events."""
    shop = Shop()
    shared = shop.events.hold()
    with pytest.raises(EmitMisused, match="call hold\\(\\) for each block"), shared:
        shared.__enter__()


def test_now_does_not_wait() -> None:
    shop = Shop()
    with shop.events.hold():
        emit(shop, 1, now=True)
        assert shop.sizes == [1]
    assert shop.sizes == [1]


def test_two_systems_hold_apart() -> None:
    one, two = Shop("one"), Shop("two")
    with one.events.hold():
        emit(two, 1)
        assert two.sizes == [1]
        with two.events.hold():
            emit(one, 2)
            emit(two, 3)
        assert (one.sizes, two.sizes) == ([], [1, 1])
    assert one.sizes == [1]


def test_async_blocks_and_tasks_in_them() -> None:
    """A task or thread that the block starts holds back too, until the block ends; after that it emits at once."""
    shop = Shop()

    async def main() -> None:
        go_on = asyncio.Event()

        async def late() -> None:
            await go_on.wait()
            await shop.events.aemit(Noted(number=4))

        async with shop.events.hold():
            await shop.events.aemit(Noted(number=1))
            await asyncio.create_task(shop.events.aemit(Noted(number=2)))
            await asyncio.to_thread(emit, shop, 3)
            task = asyncio.create_task(late())
            assert shop.batches == []
        assert shop.sizes == [3]
        go_on.set()
        await task
        assert shop.sizes == [3, 1]
        shop.events.close()

    asyncio.run(main())


def test_another_thread_is_another_context() -> None:
    shop = Shop()
    with shop.events.hold():
        thread = threading.Thread(target=emit, args=(shop, 1))
        thread.start()
        thread.join()
        assert shop.sizes == [1]


def test_in_a_handler_it_is_the_handler_that_holds() -> None:
    """A repository that holds may be used by handlers too."""
    shop = Shop()
    event = Noted(number=0)
    scope = HandlingScope("d", "d", _envelope(event), "x")
    with handling(scope, DerivedIds("d", event.event_id, event.occurred_at)), shop.events.hold():
        emit(shop, 1)
    assert shop.batches == []
    assert len(scope.held) == 1


def _envelope(event: Noted) -> Any:
    from events_core.envelope import Envelope

    return Envelope.of(event)


def test_a_broker_that_is_down_is_told_at_the_end_of_the_block() -> None:
    """And the events are in their entity again."""
    shop = Shop()
    shop.error = EmitError("no answer")
    order = Order()
    first = Noted(number=1)
    order.add_event(first)

    def place() -> None:
        with shop.events.hold():
            shop.events.emit_many(order.collect_events())
            assert order.collect_events() == []

    with pytest.raises(EmitError):
        place()
    assert order.collect_events() == [first]


def test_a_block_that_raises_gives_the_events_back_to_their_entity() -> None:
    """The command has failed: whoever tries it again with the same object finds its events there."""
    shop = Shop()
    order = Order()
    order.add_event(Noted(number=1))
    with pytest.raises(KeyError):
        fail(shop, lambda: shop.events.emit_many(order.collect_events()))
    assert len(order.collect_events()) == 1


def test_a_group_cannot_wait() -> None:
    shop = Shop()
    with pytest.raises(EmitMisused, match="emit it after the commit"), shop.events.hold():
        shop.events.emit_group([Noted(number=1)], max_parallel=1)


class TestDeliverLater:
    def test_the_hook_takes_what_would_be_sent(self) -> None:
        shop = Shop()
        taken: list[Callable[[], None] | None] = []

        def later(send: Callable[[], None] | None) -> bool:
            taken.append(send)
            return True

        shop.events.deliver_later = later
        emission = shop.events.emit(Noted(number=1))
        assert len(emission.deliveries) == 1
        assert shop.batches == []
        emit(shop, 2, now=True)
        assert shop.sizes == [1]
        [send] = taken
        assert send is not None
        send()
        assert shop.sizes == [1, 1]
        with pytest.raises(EmitMisused, match="on_commit"):
            shop.events.emit_group([Noted(number=3)], max_parallel=1)
        assert taken[1:] == [None]

    def test_a_hook_that_does_not_take_it(self) -> None:
        shop = Shop()
        shop.events.deliver_later = lambda send: False
        emit(shop, 1)
        asyncio.run(shop.events.aemit_many([Noted(number=2)]))
        assert shop.sizes == [1, 1]
        shop.events.close()

    def test_the_end_of_a_held_block_asks_it_too(self) -> None:
        """A block inside of a transaction ends before the commit."""
        shop = Shop()
        taken: list[Any] = []
        shop.events.deliver_later = lambda send: taken.append(send) or True  # type: ignore[func-returns-value]
        with shop.events.hold():
            emit(shop, 1)
        assert shop.batches == []
        assert len(taken) == 1
