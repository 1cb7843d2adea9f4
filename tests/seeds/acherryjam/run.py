"""What the README of ACherryJam/events says, done: ends with 0 where all of it holds."""

from __future__ import annotations

import asyncio

from events_core.bus import Topic
from events_core.entities import pending_events
from tests.seeds.acherryjam import app, bus


async def domain_events() -> None:
    container = await app.main()
    for interactor in (app.CompleteOrderInteractor, app.WithContextManager):
        order = app.OrderRepository.orders[1] = app.Order(1, ["book"])
        async with container() as request:
            await (await request.get(interactor))(1)
            transaction = await request.get(app.Transaction)
        invoice = app.Invoice(id=1, order_id=1)
        expected = [[], [invoice, order]] if interactor is app.CompleteOrderInteractor else [[invoice], []]
        assert [transaction.written, transaction.committed] == expected
        assert pending_events(order) == ()


async def a_handler_that_fails() -> None:
    """It fails the caller, whose transaction holds nothing; the order has its event still."""
    container = await app.main()
    order = app.OrderRepository.orders[1] = app.Order(1, ["book"])
    app.InvoiceRepository.full = True
    async with container() as request:
        try:
            await (await request.get(app.CompleteOrderInteractor))(1)
        except OSError:
            pass
        else:
            raise AssertionError("completed without its invoice")
        transaction = await request.get(app.Transaction)
    assert transaction.written == transaction.committed == []
    assert [event.type for event in pending_events(order)] == ["order.completed"]


async def integration_events() -> None:
    await bus.main()
    receiving = bus.IntegrationEventBusImpl()
    await bus.register(receiving)
    async with receiving:
        await receiving.send(Topic("users"), bus.event)
        assert await asyncio.wait_for(bus.heard.get(), 20) == "bbb@gmail.com"


if __name__ == "__main__":
    asyncio.run(domain_events())
    asyncio.run(a_handler_that_fails())
    asyncio.run(integration_events())
    assert bus.why_not_pydantic() == bus.why_not_pydantic_with_fields() == ["users.registered"] * 2
    assert bus.payload == {"type": "user.registered", "version": 1, "email": "bbb@gmail.com"}
    assert type(bus.constructed_event) is bus.UserRegisteredV1
    assert bus.constructed_event.email == "bbb@gmail.com"
