"""Stand-ins for what a shop talks to: its stock, a payment provider, a mail server. They wait instead of working."""

from __future__ import annotations

import asyncio
import threading
import time
from uuid import UUID

DECLINED = "tok_declined"
#: Every so many orders the provider cannot be reached when it is asked for the first time.
FAILS_EVERY = 10


class ProviderUnavailable(Exception):
    """The payment provider did not answer."""


class CardDeclined(Exception):
    """The card's bank refuses. Asking again changes nothing."""


class Stock:
    """Reservations by order: reserving twice for one order is reserving once."""

    def __init__(self) -> None:
        self._reserved: dict[UUID, tuple[str, int]] = {}

    def reserve(self, order_id: UUID, sku: str, quantity: int) -> None:
        """Set the goods aside for the order."""
        time.sleep(0.005)
        self._reserved.setdefault(order_id, (sku, quantity))


class Payments:
    """A payment provider that fails in the same way in every run: on its first call for each tenth order."""

    def __init__(self) -> None:
        self._failed: set[UUID] = set()
        self._lock = threading.Lock()

    def charge(self, order_id: UUID, number: int, card_token: str) -> str:
        """Charge once per order; the payment's id.

        The order's id is the idempotency key. Raises ProviderUnavailable, CardDeclined.
        """
        time.sleep(0.01)
        if card_token == DECLINED:
            raise CardDeclined("the card was declined")
        if number % FAILS_EVERY == 0 and self._first_call(order_id):
            raise ProviderUnavailable("no answer from the payment provider")
        return f"pay_{order_id.hex[:12]}"

    def _first_call(self, order_id: UUID) -> bool:
        with self._lock:
            first = order_id not in self._failed
            self._failed.add(order_id)
            return first


class Mail:
    """A mail server."""

    async def send(self, to: str, text: str) -> None:
        """Send one mail."""
        await asyncio.sleep(0.04)


stock, payments, mail = Stock(), Payments(), Mail()
