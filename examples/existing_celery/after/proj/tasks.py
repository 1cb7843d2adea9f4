from celery.utils.log import get_task_logger

from events_core import DomainEvent, EventSystem

from .celery import app

logger = get_task_logger(__name__)
events = EventSystem("proj", celery=app)


class OrderPlaced(DomainEvent, event_type="order.placed"):
    order_id: int


@app.task  # type: ignore[untyped-decorator]
def reserve_stock(order_id: int) -> None:
    logger.info("stock is reserved for order %s", order_id)


@app.task(autoretry_for=(ConnectionError,), retry_backoff=True)  # type: ignore[untyped-decorator]
def send_receipt(order_id: int) -> None:
    logger.info("receipt is sent for order %s", order_id)


@app.task  # type: ignore[untyped-decorator]
def report() -> None:
    logger.info("good morning")


events.handler(OrderPlaced, task=reserve_stock, args=lambda event: (event.order_id,))
events.handler(OrderPlaced, task=send_receipt, args=lambda event: (event.order_id,))
