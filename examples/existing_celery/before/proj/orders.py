import sys

from .tasks import reserve_stock, send_receipt


def place_order(order_id: int) -> None:
    reserve_stock.delay(order_id)
    send_receipt.delay(order_id)


if __name__ == "__main__":
    place_order(int(sys.argv[1]))
