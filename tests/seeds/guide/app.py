"""A guide to domain events, block by block. What it leaves out stands between the blocks."""

# --- guide 1: changed
from dataclasses import dataclass, field
from typing import ClassVar
from uuid import UUID

from uuid_utils.compat import uuid7  # UUIDv7 for time-ordered event IDs

from events_core.compat import DomainEvent


class UserCreated(DomainEvent):
    """Emitted when a new user is created."""

    event_type: ClassVar[str] = "user.created"
    user_id: UUID
    email: str

    def _payload(self) -> dict:
        return {"user_id": str(self.user_id), "email": self.email}


class UserActivated(DomainEvent):
    """Emitted when user account is activated."""

    event_type: ClassVar[str] = "user.activated"
    user_id: UUID

    def _payload(self) -> dict:
        return {"user_id": str(self.user_id)}


class OrderPlaced(DomainEvent):
    """Emitted when an order is placed."""

    event_type: ClassVar[str] = "order.placed"
    order_id: UUID
    customer_id: UUID
    total_amount: str = "0.00"
    currency: str = "USD"

    def _payload(self) -> dict:
        return {
            "order_id": str(self.order_id),
            "customer_id": str(self.customer_id),
            "total": {"amount": self.total_amount, "currency": self.currency},
        }


# --- between
from decimal import Decimal  # noqa: E402


@dataclass(frozen=True)
class Money:
    amount: Decimal
    currency: str = "USD"


# --- guide 2: changed
from events_core.compat import Entity  # noqa: E402


@dataclass
class Order(Entity):
    """Order with domain events."""

    id: UUID = field(default_factory=uuid7)
    customer_id: UUID = field(default_factory=uuid7)
    status: str = "draft"
    total: Money = Money(Decimal("7.00"))

    def place(self) -> None:
        """Place the order."""
        if self.status != "draft":
            raise ValueError("Can only place draft orders")

        self.status = "placed"
        self.add_event(
            OrderPlaced(
                order_id=self.id,
                customer_id=self.customer_id,
                total_amount=str(self.total.amount),
                currency=self.total.currency,
            )
        )


# --- guide 3: replaced
from events_core.compat import (  # noqa: E402
    EventPublisher,
    InMemoryEventPublisher,
    RedisEventPublisher,
    SystemEventPublisher,
)


# --- between
class OrderRepository:
    def __init__(self, *orders: Order) -> None:
        self._orders = {order.id: order for order in orders}

    async def get_or_raise(self, order_id: UUID) -> Order:
        return self._orders[order_id]

    async def update(self, order: Order) -> None:
        assert order.status == "placed"


# --- guide 4: as it is
class OrderService:
    """Application service that publishes domain events."""

    def __init__(
        self,
        order_repo: OrderRepository,
        event_publisher: EventPublisher,
    ):
        self._orders = order_repo
        self._events = event_publisher

    async def place_order(self, order_id: UUID) -> Order:
        """Place order and publish events."""
        order = await self._orders.get_or_raise(order_id)

        # Business logic (adds events to entity)
        order.place()

        # Persist changes
        await self._orders.update(order)

        # Publish collected events
        events = order.collect_events()
        await self._events.publish_all(events)

        return order


# --- between
from events_core import EventSystem  # noqa: E402
from tests.seeds.record import say  # noqa: E402

__all__ = ["InMemoryEventPublisher", "RedisEventPublisher", "SystemEventPublisher"]

events = EventSystem("guide")


class Mails:
    async def send_welcome(self, email: str) -> None:
        say("welcome", email)


class Analytics:
    async def track(self, name: str, values: dict) -> None:
        say("track", name, values)


email_service, analytics = Mails(), Analytics()

# --- guide 5: changed
from events_core.compat import EventDispatcher  # noqa: E402

# Handler registration
dispatcher = EventDispatcher()


async def send_welcome_email(event: UserCreated) -> None:
    """Send welcome email on user creation."""
    await email_service.send_welcome(event.email)


async def update_analytics(event: UserCreated) -> None:
    """Update analytics on user creation."""
    await analytics.track("user_created", {"user_id": str(event.user_id)})


dispatcher.register("user.created", send_welcome_email)
dispatcher.register("user.created", update_analytics)


# --- between
async def ship(event: OrderPlaced) -> None:
    say("ship", str(event.order_id), event.total_amount)


dispatcher.register("order.placed", ship)
