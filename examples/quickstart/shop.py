from uuid import UUID, uuid4

from events_core import DomainEvent, EventSystem, Limit, Retry

events = EventSystem("shop")


class OrderPlaced(DomainEvent, event_type="order.placed"):
    order_id: UUID
    email: str


@events.handler(OrderPlaced, retry=Retry(max_attempts=5), limit=Limit("smtp", 10))
async def send_receipt(event: OrderPlaced) -> None:
    print(f"receipt for order {event.order_id}")


if __name__ == "__main__":
    order = OrderPlaced(order_id=uuid4(), email="ada@example.com")
    emission = events.emit(order)
    print(f"emitted {order.event_type} {emission.event_id}")
