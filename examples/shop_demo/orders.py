"""Sends the orders, over HTTP, a few at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import httpx

from examples.shop.services import DECLINED
from examples.shop_demo.failing import DemoFailed

_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Accepted:
    """An order that the shop has accepted, with its delivery ids by handler."""

    deliveries: dict[str, str]
    declined: bool


def send_orders(url: str, count: int, *, per_second: float, declined: int) -> Iterator[list[Accepted]]:
    """Send `count` orders to the shop at `url`; yield those accepted meanwhile, again and again, until all are.

    per_second: how many are sent in a second at most. declined: index of the order whose card is declined.
    Raises DemoFailed when the shop does not accept one.
    """
    start = time.monotonic()
    with httpx.Client(base_url=url, timeout=10) as client, ThreadPoolExecutor(_AT_ONCE) as threads:
        pending: set[Future[Accepted]] = set()
        sent = 0
        while sent < count or pending:
            due = min(count, int((time.monotonic() - start) * per_second) + 1)
            # no more than can be under way: an order waiting here would be sent late, all at once
            for index in range(sent, min(due, sent + _AT_ONCE - len(pending))):
                pending.add(threads.submit(_send, client, index, index == declined))
                sent += 1
            done, pending = wait(pending, timeout=0.5 / per_second, return_when=FIRST_COMPLETED)
            if not done:
                time.sleep(0.5 / per_second)
            yield [future.result() for future in done]


def _send(client: httpx.Client, index: int, declined: bool) -> Accepted:
    order = {
        "sku": "tea" if index % 3 else "cups",
        "quantity": 1 + index % 4,
        "email": f"customer{index}@example.com",
        "card_token": DECLINED if declined else "tok_visa",
    }
    try:
        answer = client.post("/orders", json=order)
    except httpx.HTTPError as error:
        raise DemoFailed(f"order {index} got no answer from the shop: {type(error).__name__}: {error}") from error
    if answer.status_code != 202:
        raise DemoFailed(f"the shop did not accept order {index}: {answer.status_code} {answer.text}")
    return Accepted(answer.json()["deliveries"], declined)
