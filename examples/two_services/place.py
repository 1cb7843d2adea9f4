"""`python -m examples.two_services.place [FIRST] LAST`: customers place the orders of these numbers."""

from __future__ import annotations

import sys
import time

from events_core import EmitError
from examples.two_services.orders import OrderPlaced, events

CUSTOMERS = 10
PAUSE = 0.5  # seconds before the next attempt while the broker is away


def order(number: int) -> OrderPlaced:
    """The order of that number. Its customer has moved since the last one."""
    revision, customer = divmod(number, CUSTOMERS)
    return OrderPlaced(number=number, customer=f"c{customer}", address=f"{revision} High Street", revision=revision)


def place(event: OrderPlaced) -> None:
    """Emit it until the broker has confirmed it. It is the same event each time, so that nothing doubles."""
    while True:
        try:
            events.emit(event)
            return
        except EmitError as error:
            print(f"order {event.number}: {error}", flush=True)
            time.sleep(PAUSE)


def main() -> None:
    """Place them one after the other."""
    *first, last = map(int, sys.argv[1:])
    for number in range(first[0] if first else 1, last + 1):
        place(order(number))
        print(f"placed {number}", flush=True)


if __name__ == "__main__":
    main()
