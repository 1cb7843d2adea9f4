"""examples/two_services under test: its services as processes of their own, and the account of what they did."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import redis

from events_core.coordination import Coordination
from events_worker.subscriptions.topology import declared_bindings
from examples.two_services.ledger import FOLDER, Ledger
from examples.two_services.place import CUSTOMERS, order
from tests.support.processes import Process, start_python, start_worker
from tests.support.waiting import wait_until

#: The durable queues of each service.
QUEUES = {"orders": (), "shipping": ("shipping.orders", "shipping.customers"), "mail": ("letters",)}


@dataclass
class Services:
    """The services on one broker. To be made with `TWO_SERVICES_DATA` set to `folder` here, too."""

    broker_url: str
    redis_url: str
    folder: Path
    workers: dict[str, Process] = field(default_factory=dict)
    kills: int = 0

    def __post_init__(self) -> None:
        os.environ[FOLDER] = str(self.folder)
        self.parcels, self.addresses = Ledger("shipping", "parcels"), Ledger("shipping", "addresses")
        self.letters = Ledger("mail", "letters")

    @property
    def env(self) -> dict[str, str | None]:
        return {
            "EVENTS_BROKER_URL": self.broker_url,
            "EVENTS_REDIS_URL": self.redis_url,
            "MESSAGE_BROKER_URL": None,
            FOLDER: str(self.folder),
        }

    def start(self, *names: str) -> None:
        """Start the workers of these services and wait until they hear what they subscribe to."""
        for name in names:
            self.workers[name] = start_worker(f"examples.two_services.{name}", env=self.env, ready=False)
        for name in names:
            self.workers[name].wait_for_log(r"\bready\.\s*$", 60)
            self.wait_until_bound(name)

    def wait_until_bound(self, name: str) -> None:
        """Until a worker has ever declared the service's queues."""
        with redis.Redis.from_url(self.redis_url, decode_responses=True) as client:
            found = Coordination(client, f"{name}:")
            wait_until(lambda: all(declared_bindings(found, queue) for queue in QUEUES[name]), 60, f"queues of {name}")

    def kill(self, name: str) -> None:
        """SIGKILL to a service's worker."""
        self.workers[name].kill9()
        self.kills += 1

    def place(self, first: int, last: int) -> Process:
        """Start a process that places the orders of these numbers, one after the other."""
        return start_python("-m", "examples.two_services.place", str(first), str(last), env=self.env)

    def missing(self, last: int) -> set[tuple[str, int]]:
        """What has not been done of the orders up to that number: service and number."""
        ledgers = {"shipping": self.parcels, "mail": self.letters}
        return {
            (name, number)
            for name, ledger in ledgers.items()
            for number in set(range(1, last + 1)) - set(map(int, ledger.values()))
        }

    def wait_for_all(self, last: int, timeout: float) -> None:
        """Until both services have handled every order, and shipping knows the newest address of every customer."""
        wait_until(lambda: not self.missing(last), timeout, f"{last} orders to be handled by both services")
        wait_until(lambda: self.addresses.values() == newest_addresses(last), 30, "the newest address of everyone")

    def report(self, last: int) -> str:
        """The account in one line."""
        return (
            f"{last} orders placed, shipping SIGKILLed {self.kills} times: {len(self.parcels.values())} parcels "
            f"({self.parcels.repeats()} packed again), {len(self.letters.values())} letters "
            f"({self.letters.repeats()} written again), {len(self.addresses.values())} addresses, "
            f"{len(self.missing(last))} lost;"
        )


def newest_addresses(last: int) -> dict[str, str]:
    """Where every customer lives after the order of that number."""
    orders = [order(number) for number in range(max(1, last - CUSTOMERS + 1), last + 1)]
    return {each.customer: each.address for each in orders}
