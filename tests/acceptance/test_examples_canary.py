"""A value that nobody may read goes through every example, and is then looked for.

In every process's log, Flower's pages, what commands print, and Redis, before, between and after the deliveries.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from celery import Celery
from websockets.exceptions import ConnectionClosed

import events_core.transport  # noqa: F401  # for redis-streams://
from events_core.transport.schemes import with_streams
from examples.outgoing import sent, text_of
from tests.support import django_shop as django_support
from tests.support import user_registration
from tests.support.canary import Lookout, begin_dashboard, payload_store
from tests.support.commands import run_python
from tests.support.online_chat import start_server, visiting
from tests.support.processes import READY, ROOT, Process, child_env, start_python, start_worker
from tests.support.redis_server import connect
from tests.support.shop import Shop
from tests.support.two_services import Services
from tests.support.waiting import wait_until

pytest.importorskip("flower")

pytestmark = pytest.mark.apps

#: An example's application: what fails in it is tried again once, at once, so that it is dead soon.
IMPATIENT = """
import importlib
import os

events = importlib.import_module(os.environ["EXAMPLE"]).events
events.load()
for spec in (*events.event_map.handlers, *(each.spec for each in events.event_map.subscribers)):
    if spec.retry is not None:
        object.__setattr__(spec.retry, "base", 0.01)
        object.__setattr__(spec.retry, "max_attempts", 2)
if "DECLINED" in os.environ:
    importlib.import_module("examples.shop.services").DECLINED = os.environ["DECLINED"]
"""


@pytest.fixture
def lookout(redis_url: str) -> Callable[..., Lookout]:
    """Makes one that knows the keys of these systems, and more: lists of a stock transport."""

    def make(*systems: str, queue: str = "{}.*", more: tuple[str, ...] = ()) -> Lookout:
        own = [
            {"prefix": f"{name}:", "queue": queue.format(name), "group id": "*", "topic": "none"} for name in systems
        ]
        return Lookout(redis_url, [*more, *(pattern for each in own for pattern in payload_store(each))])

    return make


def canary() -> str:
    return secrets.token_hex(12)


def impatient(folder: Path, example: str, env: dict[str, str]) -> Shop:
    """The example's application, for the worker and the commands, in a folder of its own."""
    (folder / "impatient.py").write_text(IMPATIENT)
    return Shop(folder, env | {"EVENTS_APP": "impatient", "EXAMPLE": example})


def worker_of(shop: Shop, app: str = "impatient", *, ready: bool = True) -> Process:
    return start_worker(app, env=shop.env, cwd=shop.folder, extra=("-E", "-l", "DEBUG"), ready=ready)


def dead(lookout: Lookout, shop: Shop, system: str, number: int) -> str:
    """Waits for so many dead letters, and looks at them; what `events dead show` tells of them with their payloads."""

    def found() -> list[str]:
        with connect(lookout.redis_url) as client:
            letters: dict[bytes, bytes] = client.hgetall(f"{system}:dead:letters")
        assert len(letters) == number
        return [str(json.loads(letter)["id"]) for letter in letters.values()]

    letters = wait_until(found, 60, f"{number} dead letters of {system}")
    lookout.look_into_redis()
    commands = [("list",), ("show", letters[0]), *(("show", letter, "--payload") for letter in letters)]
    with ThreadPoolExecutor(2) as threads:
        printed = list(threads.map(lambda command: lookout.run(shop, "dead", *command), commands))
    assert all(letter in printed[0] for letter in letters)
    return "".join(printed[2:])


def test_shop(lookout: Callable[..., Lookout], redis_url: str, tmp_path: Path) -> None:
    """A card that is charged, and one that is declined."""
    good, declined, email = f"tok_{canary()}é+/", f"tok_{canary()}é+/", f"{canary()}@example.com"
    look = lookout("shop")
    shop = impatient(tmp_path, "examples.shop.system", {"EVENTS_BROKER_URL": redis_url, "DECLINED": declined})
    flower = begin_dashboard(shop)
    web = start_python("-m", "uvicorn", "examples.shop.web:app", "--port", "0", env=shop.env)
    url = web.wait_for_log(r"running on (http://[\d.:]+)")[1]
    for card in (good, declined):
        order = {"sku": "tea", "quantity": 2, "email": email, "card_token": card}
        assert httpx.post(f"{url}/orders", json=order, trust_env=False).status_code == 202
    refused = httpx.post(f"{url}/orders", json=order | {"quantity": 0}, trust_env=False)
    assert refused.status_code == 422
    look.look_into_redis()
    flower.wait_until_it_serves()
    worker = worker_of(shop)
    assert email in dead(look, shop, "shop", 1)
    look.browse(flower, 8)  # order.placed twice: 3 deliveries each, order.paid: 2
    look.look_into_redis()
    look.read(web, worker)
    look.nobody_saw("shop", good, declined, payload=[email])


def test_modular_monolith(lookout: Callable[..., Lookout], redis_url: str, tmp_path: Path) -> None:
    """A token for a new password, which cannot be mailed at first."""
    email, password, new = f"{canary()}@example.com", canary(), canary()
    look = lookout("monolith")
    env = {"EVENTS_BROKER_URL": redis_url, "MONOLITH_DATA": str(tmp_path)}
    shop = impatient(tmp_path, "examples.modular_monolith.core.events", env)
    flower = begin_dashboard(shop)
    web = start_python("-m", "uvicorn", "examples.modular_monolith.main:app", "--port", "0", env=env)
    url = web.wait_for_log(r"running on (http://[\d.:]+)")[1]
    outgoing = tmp_path / "outgoing"
    outgoing.touch()  # no folder
    with httpx.Client(base_url=url, trust_env=False) as client:
        client.post("/users", json={"email": email, "password": password, "full_name": "Ada"}).raise_for_status()
        client.post("/password-reset", json={"email": email}).raise_for_status()
        look.look_into_redis()
        flower.wait_until_it_serves()
        worker = worker_of(shop)
        assert email in dead(look, shop, "monolith", 2)
        look.browse(flower, 2)
        outgoing.unlink()
        look.run(shop, "dead", "redrive", "--all", "--yes")
        wait_until(lambda: len(list(sent(outgoing))) == 2, what="both mails, at last")
        (token,) = (text_of(mail).splitlines()[-1] for mail in sent(outgoing) if "token" in text_of(mail))
        client.post("/password-reset/confirm", json={"token": token, "password": new}).raise_for_status()
    look.browse(flower, 2)
    look.look_into_redis()
    look.read(web, worker)
    look.nobody_saw("modular_monolith", token, password, new, payload=[email])


def test_user_registration(
    lookout: Callable[..., Lookout], amqp_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its events carry nothing that is secret: not even the store of payloads has it. The mail fails at first."""
    email, key = f"{canary()}@example.com", canary()
    monkeypatch.setattr(user_registration, "KEY", key)
    look = lookout("users", "mailer")
    services = user_registration.Services(amqp_url, redis_url, tmp_path)
    env = {name: value for name, value in services.env.items() if value is not None}
    shop = impatient(tmp_path, "examples.user_registration.mailer.service", env)
    flower = begin_dashboard(shop)
    mailer = worker_of(shop, ready=False)
    users = worker_of(shop, "examples.user_registration.users.system", ready=False)
    processes = [services.web(), users, mailer]
    for worker in (users, mailer):
        worker.wait_for_log(READY, 60)
    flower.wait_until_it_serves()
    outgoing = tmp_path / "outgoing"
    outgoing.touch()  # no folder
    assert services.post("/users", email=email).status_code == 202
    assert "user_id" in dead(look, shop, "mailer", 1)
    look.browse(flower, 2)
    outgoing.unlink()
    look.run(shop, "dead", "redrive", "--all", "--yes")
    (mail,) = services.mails()
    token = user_registration.token_in(mail)
    assert services.post("/verify", token=f"{token}0").status_code == 400
    assert services.post("/verify", token=token).json() == {"verified": email}
    look.look_into_redis()
    look.read(*processes)
    signature = token.rpartition(".")[2]
    look.nobody_saw("user_registration", signature, email, key, carried=False)


def test_django_shop(
    lookout: Callable[..., Lookout], redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its events name the order: address and card stay in the database. One card is declined."""
    email, card, password = f"{canary()}@example.com", canary()[:20], canary()
    monkeypatch.setattr(django_support, "PASSWORD", password)
    look = lookout("django_shop")
    env = {
        "EVENTS_APP": "events_core.contrib.django.worker",
        "DJANGO_SETTINGS_MODULE": "examples.django_shop.settings",
        "DJANGO_SHOP_DATA": str(tmp_path / "data"),
        "EVENTS_BROKER_URL": redis_url,
    }
    commands = Shop(tmp_path, env)
    flower = begin_dashboard(commands)
    shop = django_support.start_django_shop(tmp_path / "data", redis_url)
    flower.wait_until_it_serves()
    with Celery(broker=with_streams(redis_url)) as celery:  # its worker runs without -E
        assert celery.control.broadcast("enable_events", reply=True, limit=1, timeout=30)
    for used in (card, "declined"):
        shop.post("/orders", "/", item="tea", quantity="1", email=email, card=used).raise_for_status()
    assert '"order_id": 2' in dead(look, commands, "django_shop", 1)
    wait_until(lambda: "not yet" not in shop.rows()[1], what="order 1 to be paid, and its receipt sent")
    look.browse(flower, 5)
    shop.log_in()
    (letter,) = shop.letters()
    for page in (django_support.LETTERS, f"{django_support.LETTERS}{letter}/change/"):
        answer = shop.client.get(page).raise_for_status()
        assert "OrderPlaced" in answer.text or "order.placed" in answer.text
        look.pages[page] = answer.text
    look.look_into_redis()
    look.read(shop.process)
    look.nobody_saw("django_shop", email, card, password, carried=False)


def test_online_chat(lookout: Callable[..., Lookout], redis_url: str) -> None:
    """What is said lies in the queue of a server that does not take it, and nowhere else."""
    author, text = canary(), canary()
    look = lookout("online_chat", more=("online_chat.screens.*", "unacked"))
    here, there = start_server(redis_url), start_server(redis_url)
    with visiting(here) as ann, visiting(there) as bob:
        ann.say(text, author)
        assert bob.texts(1) == ann.texts(1) == [text]
        ann.say(text * 100, author)
        assert text not in ann.next()["error"]
        look.look_into_redis()
        here.process.kill9()
        with pytest.raises(ConnectionClosed):
            ann.next()
        bob.say(text, author)
        assert bob.texts(1) == [text]
        look.look_into_redis()
    assert there.process.terminate() in (0, -15)
    look.look_into_redis()
    look.read(here.process, there.process)
    look.nobody_saw("online_chat", text, author)


def test_existing_celery(lookout: Callable[..., Lookout], redis_url: str) -> None:
    """The number of the order is all that its event carries. The tasks log it, as they always did; nobody else does."""
    number = str(10**17 + secrets.randbelow(10**17))
    look = lookout("proj", queue="{}")
    folder = ROOT / "examples" / "existing_celery" / "after"
    env = {"CELERY_BROKER_URL": with_streams(redis_url), "EVENTS_APP": "proj.tasks"}
    shop = Shop(folder, env)
    flower = begin_dashboard(shop)
    placed = start_python("-m", "proj.orders", number, env=env, cwd=folder, name="proj.orders")
    assert placed.wait() == 0, placed.log
    look.look_into_redis()
    flower.wait_until_it_serves()
    worker = start_python(
        "-m", "celery", "-A", "proj", "worker", "-E", "-P", "threads", "-l", "INFO", env=env, cwd=folder
    )
    look.browse(flower, 2)
    look.look_into_redis()
    look.run(shop, "status")
    look.read(placed, worker)
    own = [line for line in worker.log.splitlines() if line.endswith(f" for order {number}")]
    assert len(own) == 2
    look.logs[worker.name] = "\n".join(line for line in worker.log.splitlines() if line not in own)
    look.nobody_saw("existing_celery", number)


def test_two_services(
    lookout: Callable[..., Lookout], redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address on its way to another service, whose database is broken at first."""
    address = f"1 {canary()} Street"
    monkeypatch.setenv("TWO_SERVICES_DATA", str(tmp_path))
    broken = tmp_path / "shipping.sqlite3"
    look = lookout("orders", "shipping", "mail", more=("shipping.customers", "shipping.orders", "letters", "unacked"))
    env = {"EVENTS_BROKER_URL": redis_url, "TWO_SERVICES_DATA": str(tmp_path), "EVENTS_REDIS_URL": redis_url}
    shop = impatient(tmp_path, "examples.two_services.shipping", env)
    flower = begin_dashboard(shop)
    services = Services(redis_url, redis_url, tmp_path)
    broken.mkdir()
    workers = [worker_of(shop, ready=False), worker_of(shop, "examples.two_services.mail", ready=False)]
    services.wait_until_bound("shipping")
    services.wait_until_bound("mail")
    code = (
        "import sys; from examples.two_services.orders import *\n"
        "events.emit(OrderPlaced(number=1, customer='c1', address=sys.argv[1], revision=1))"
    )
    placed = start_python("-c", code, address, env=env, name="an order")
    assert placed.wait() == 0, placed.log
    look.look_into_redis()
    flower.wait_until_it_serves()
    workers.append(worker_of(shop, "examples.two_services.orders"))
    assert address in dead(look, shop, "shipping", 2)
    look.browse(flower, 4)
    broken.rmdir()
    look.run(shop, "dead", "redrive", "--all", "--yes")
    wait_until(lambda: services.addresses.values() == {"c1": address}, what="the address, at last")
    look.browse(flower, 4)
    look.look_into_redis()
    look.read(placed, *workers)
    look.nobody_saw("two_services", payload=[address])


def test_quickstart(lookout: Callable[..., Lookout], redis_url: str, tmp_path: Path) -> None:
    email = f"{canary()}@example.com"
    look = lookout("shop")
    shutil.copy(ROOT / "examples" / "quickstart" / "shop.py", tmp_path)
    shop = Shop(tmp_path, {"EVENTS_BROKER_URL": redis_url, "EVENTS_APP": "shop"})
    flower = begin_dashboard(shop)
    code = f"import shop; shop.events.emit(shop.OrderPlaced(order_id=shop.uuid4(), email={email!r}))"
    emitted = run_python("-c", code, env=child_env(shop.env), cwd=tmp_path)
    assert emitted.returncode == 0, emitted.stderr
    look.look_into_redis()
    flower.wait_until_it_serves()
    worker = worker_of(shop, "shop")
    look.browse(flower, 1)
    look.look_into_redis()
    look.run(shop, "status")
    look.read(worker)
    look.nobody_saw("quickstart", payload=[email])
