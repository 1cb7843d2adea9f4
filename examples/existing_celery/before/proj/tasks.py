from celery.utils.log import get_task_logger

from .celery import app

logger = get_task_logger(__name__)


@app.task  # type: ignore[untyped-decorator]
def reserve_stock(order_id: int) -> None:
    logger.info("stock is reserved for order %s", order_id)


@app.task(autoretry_for=(ConnectionError,), retry_backoff=True)  # type: ignore[untyped-decorator]
def send_receipt(order_id: int) -> None:
    logger.info("receipt is sent for order %s", order_id)


@app.task  # type: ignore[untyped-decorator]
def report() -> None:
    logger.info("good morning")
