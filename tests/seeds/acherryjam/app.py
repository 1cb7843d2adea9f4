"""The README of ACherryJam/events, block by block: domain events. What it leaves out stands between the blocks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import dishka
from dishka import make_async_container

from events_core.compat import (
    AggregateRoot,
    DomainEvent,
    DomainEventDispatcher,
    DomainEventHandler,
    DomainEventHandlerRegistry,
)
from events_core.compat.dishka import DomainEventImplementationProvider

OrderId = int


class OrderStatus(Enum):
    NEW = "new"
    COMPLETED = "completed"


# --- acherryjam 1: changed
class OrderCompleted(DomainEvent):
    # Domain event has a mandatory `type` abstract property to be defined
    type: str = "order.completed"
    order: Order


# --- acherryjam 2: changed
class Order(AggregateRoot):
    def __init__(self, id: OrderId, items: list[str]) -> None:
        self.id = id
        self.items = items
        self.status = OrderStatus.NEW

    def complete(self) -> None:
        if len(self.items) == 0:
            raise Exception("Can't complete an empty order")

        self.status = OrderStatus.COMPLETED
        self.publish_event(OrderCompleted(order=self))


# --- between
@dataclass
class Invoice:
    id: int
    order_id: OrderId


class Transaction:
    """What is written in it is there after the commit."""

    def __init__(self) -> None:
        self.written: list[Any] = []
        self.committed: list[Any] = []

    async def commit(self) -> None:
        self.committed, self.written = self.written, []

    async def rollback(self) -> None:
        self.written = []


class InvoiceRepository:
    full = False

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def get_next_id(self) -> int:
        return 1

    async def insert(self, invoice: Invoice) -> None:
        if self.full:
            raise OSError("no room for invoices")
        self._transaction.written.append(invoice)


class OrderRepository:
    orders: dict[OrderId, Order] = {}

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def get_by_id(self, order_id: OrderId) -> Order:
        return self.orders[order_id]

    async def update(self, order: Order) -> None:
        self._transaction.written.append(order)


# --- acherryjam 3: as it is
class CreateInvoiceOnOrderCompleted(DomainEventHandler[OrderCompleted]):
    def __init__(self, repository: InvoiceRepository):
        self.repository = repository

    async def handle(self, event: OrderCompleted) -> None:
        invoice = Invoice(id=self.repository.get_next_id(), order_id=event.order.id)
        await self.repository.insert(invoice)


# --- acherryjam 4: changed
class CompleteOrderInteractor:
    def __init__(self, dispatcher: DomainEventDispatcher, repository: OrderRepository, transaction: Transaction):
        self.dispatcher = dispatcher
        self.repository = repository
        self.transaction = transaction

    async def __call__(self, order_id: OrderId) -> None:
        try:
            # 1. Get order and mark it as completed
            order = await self.repository.get_by_id(order_id)
            order.complete()

            # 2. Get events from the order entity
            self.dispatcher.from_entity(order)

            # 3. Call process() to call handlers
            # This will call CreateInvoiceOnOrderCompleted and add the invoice in the same transaction
            # If that fails, nothing gets saved
            await self.dispatcher.process()

            # 4. Update the order and commit the transaction to save it
            await self.repository.update(order)
            await self.transaction.commit()
        except:
            await self.transaction.rollback()
            raise


# --- between
class WithContextManager(CompleteOrderInteractor):
    async def __call__(self, order_id: OrderId) -> None:
        # --- acherryjam 5: as it is
        # Events are processed at context manager exit
        async with self.dispatcher:
            order = await self.repository.get_by_id(order_id)
            order.complete()

            self.dispatcher.from_entity(order)


# --- between
class Application(dishka.Provider):
    scope = dishka.Scope.REQUEST
    parts = dishka.provide_all(
        Transaction,
        InvoiceRepository,
        OrderRepository,
        CreateInvoiceOnOrderCompleted,
        CompleteOrderInteractor,
        WithContextManager,
    )


# --- acherryjam 6: changed
async def main() -> dishka.AsyncContainer:
    container = make_async_container(
        DomainEventImplementationProvider(),
        Application(),
        context={
            DomainEventHandlerRegistry: DomainEventHandlerRegistry({OrderCompleted: [CreateInvoiceOnOrderCompleted]})
        },
    )
    return container
