"""The link of examples/user_registration's mail, opened in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.chromium import windows
from tests.support.user_registration import ADA, Services, link_in
from tests.support.waiting import wait_until

pytestmark = pytest.mark.browser


def test_it_asks_and_then_verifies(redis_url: str, tmp_path: Path) -> None:
    services = Services(redis_url, redis_url, tmp_path)
    web = services.web()
    services.users()
    services.mailer()
    services.post("/users", email=ADA)
    (mail,) = services.mails()
    with windows(tmp_path / "profile", 1) as (window,):
        window.open(link_in(mail))
        assert window.text("main").startswith("Is this address yours?"), "opening it alone verifies nothing"
        window.run("document.querySelector('#verify').click()")
        wait_until(lambda: window.text("#state") == f"{ADA} is verified.", what="the address to be verified")
        window.open("about:blank")
        window.open(f"http://127.0.0.1:{services.port}/verify#made.up.token")
        window.run("document.querySelector('#verify').click()")
        wait_until(lambda: "not valid" in window.text("#state"), what="a token that is made up to be refused")
    assert "GET /verify HTTP" in web.log, "what follows the # is not sent, and in no log"
