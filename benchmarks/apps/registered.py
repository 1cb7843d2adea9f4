"""`python -m benchmarks.apps.registered N`: registers N handlers of N event types, and measures emits when asked.

Reads numbers, one a line; answers each with the microseconds of one emit, over so many.
"""

from __future__ import annotations

import sys
from types import new_class
from uuid import uuid4

from benchmarks.apps.ours import Order
from benchmarks.rounds import microseconds
from events_core import EventSystem


def handle(event: Order) -> None:
    pass


def main(number: int) -> None:
    system = EventSystem("registry")
    types = []
    for index in range(number):
        event = new_class(f"Order{index}", (Order,), {"event_type": f"order.number_{index}"})
        system.bind(event, handle, name=f"handler_{index}")
        types.append(event)
    chosen = types[number // 2]
    for line in sys.stdin:
        print(microseconds(lambda: system.emit(chosen(order_id=uuid4())), int(line))(), flush=True)
    system.close()


main(int(sys.argv[1]))
