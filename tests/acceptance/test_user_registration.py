"""examples/user_registration on a real RabbitMQ: the mail arrives, its link verifies, and no token is on the way."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from events_core.brokers import ExchangeBroker, Subscription
from examples.user_registration.users import tokens
from tests.support.ports import free_port
from tests.support.user_registration import ADA, KEY, Services, token_in
from tests.support.waiting import wait_until

pytestmark = pytest.mark.apps

ANYBODY = Subscription("anybody", frozenset({("users", "#")}))


@pytest.fixture
def services(amqp_url: str, redis_url: str, tmp_path: Path) -> Services:
    return Services(amqp_url, redis_url, tmp_path)


def test_the_link_of_the_mail_verifies(services: Services) -> None:
    """And neither the address nor the token can be read in what other services may hear, or in any log."""
    anybody = ExchangeBroker(services.broker_url)
    anybody.declare(ANYBODY)
    processes = [services.web(), services.users(), services.mailer()]
    assert services.post("/users", email=ADA).status_code == 202
    (mail,) = services.mails()
    assert mail["To"] == ADA
    token = token_in(mail)
    assert services.post("/verify", token=f"{token}0").status_code == 400
    answer = services.post("/verify", token=token)
    assert (answer.status_code, answer.json()) == (200, {"verified": ADA})

    receiver = anybody.receiver(ANYBODY)
    messages = wait_until(lambda: receiver.receive(1), what="the event, which anybody may hear")
    assert len(messages) == 1
    told = b"".join(message.body for message in messages).decode() + "".join(process.log for process in processes)
    receiver.close()
    anybody.close()
    for secret in (token, token.rpartition(".")[2], ADA, KEY):
        assert secret not in told

    assert services.post("/users", email=ADA).status_code == 202, "the answer does not tell who has an account"
    assert services.post("/users", email="bob@example.com").status_code == 202
    assert [mail["To"] for mail in services.mails(2)] == [ADA, "bob@example.com"], "ada is verified already"


def test_while_one_of_them_is_away_nothing_is_lost(services: Services) -> None:
    """The mailer dies before it hears of the user; the user service is away when it asks."""
    web, mailer = services.web(), services.mailer()
    mailer.kill9()
    assert services.post("/users", email=ADA).status_code == 202
    web.kill9()
    services.users()
    mailer = services.mailer()
    mailer.wait_for_log(r"ConnectError", 60)
    services.web()
    (mail,) = services.mails()
    assert services.post("/verify", token=token_in(mail)).status_code == 200


def test_what_is_lost_between_commit_and_emit_comes_by_registering_again(services: Services) -> None:
    """The seam: the user is saved, the event is not sent, and the caller is told so."""
    web = services.web(EVENTS_BROKER_URL=f"amqp://127.0.0.1:{free_port()}//")
    assert services.post("/users", email=ADA).status_code == 503
    web.kill9()
    services.web()
    services.users()
    services.mailer()
    assert services.post("/users", email=ADA).status_code == 202
    assert [mail["To"] for mail in services.mails()] == [ADA]


def test_the_link_is_for_the_mail_service_alone(services: Services) -> None:
    services.web()
    url = f"http://127.0.0.1:{services.port}/users/{uuid4()}/verification"
    assert httpx.get(url, headers={"authorization": "Bearer x"}, trust_env=False).status_code == 403
    assert httpx.get(url, headers={"authorization": f"Bearer {KEY} for the mailer"}, trust_env=False).status_code == 404
    assert services.post("/users", email="ada@example.com\nBcc: eve@example.com").status_code == 422


class TestTokens:
    @pytest.fixture(autouse=True)
    def key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("USERS_KEY", KEY)

    def test_it_is_that_of_its_user(self) -> None:
        user_id = uuid4()
        assert tokens.user_of(tokens.make_token(user_id)) == user_id

    @pytest.mark.parametrize("token", ["", ".", "a.b.c", "ä.ö.ü", f"{uuid4()}.99999999999.{'0' * 64}"])
    def test_what_is_made_up_is_nobodys(self, token: str) -> None:
        assert tokens.user_of(token) is None

    def test_an_old_one_is_nobodys(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tokens, "VALID", -1)
        assert tokens.user_of(tokens.make_token(uuid4())) is None

    def test_one_of_another_key_is_nobodys(self, monkeypatch: pytest.MonkeyPatch) -> None:
        token = tokens.make_token(uuid4())
        monkeypatch.setenv("USERS_KEY", "another")
        assert tokens.user_of(token) is None
