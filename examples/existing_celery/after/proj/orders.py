import sys

from .tasks import OrderPlaced, events


def place_order(order_id: int) -> None:
    events.emit(OrderPlaced(order_id=order_id))


if __name__ == "__main__":
    place_order(int(sys.argv[1]))
