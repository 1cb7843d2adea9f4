"""examples/django_shop, started as its README says, and its pages asked over HTTP."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.ports import free_port
from tests.support.processes import Process, start_python
from tests.support.waiting import wait_until

PASSWORD = "of-a-test"
LETTERS = "/admin/celery_events/deadletter/"


@dataclass(frozen=True)
class DjangoShop:
    """The shop with its worker."""

    url: str
    process: Process
    client: httpx.Client

    def post(self, path: str, page: str, **form: str | list[str]) -> httpx.Response:
        """Sends a form that the page has."""
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.client.get(page).text)
        assert found, f"{page} has no form"
        return self.client.post(path, data={**form, "csrfmiddlewaretoken": found[1]})

    def order(self, item: str = "tea", quantity: int = 1, card: str = "good") -> str:
        """Places one; what the shop says to it."""
        answer = self.post("/orders", "/", item=item, quantity=str(quantity), email="ada@example.com", card=card)
        said = re.search(r"<strong>(.*?)</strong>", answer.text)
        assert said, answer.text
        return said[1]

    def rows(self) -> list[list[str]]:
        """The orders as its page shows them: number, what, card, paid, receipt."""
        cells = re.findall(r"<td>(.*?)</td>", self.client.get("/").text, re.DOTALL)
        return [cells[start : start + 5] for start in range(0, len(cells), 6)]

    def log_in(self) -> None:
        """As the admin's user."""
        self.post("/admin/login/", "/admin/login/", username="admin", password=PASSWORD, next="/admin/")

    def letters(self) -> list[str]:
        """The ids of the dead letters in the admin."""
        return re.findall(r'name="_selected_action" value="([^"]+)"', self.client.get(LETTERS).text)


def start_django_shop(folder: Path, broker_url: str = "embedded") -> DjangoShop:
    """Starts it, and waits until the shop serves and its worker is ready."""
    address = f"127.0.0.1:{free_port()}"
    env = {
        "DJANGO_SHOP_DATA": str(folder),
        "DJANGO_SHOP_ADDRESS": address,
        "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
        "EVENTS_BROKER_URL": broker_url,
    }
    process = start_python("-m", "examples.django_shop", env=env)
    process.wait_for_log(r" ready\.\s*$", 60)
    client = httpx.Client(base_url=f"http://{address}", follow_redirects=True, trust_env=False, timeout=30)
    shop = DjangoShop(f"http://{address}", process, client)

    def serves() -> bool:
        assert process.alive, process.log
        try:
            return client.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    wait_until(serves, 60, "the shop to serve")
    return shop
