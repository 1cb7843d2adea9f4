"""The admin's dead letters in a real browser. EVENTS_TEST_SCREENSHOTS=1 renews the picture in docs/images."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

import pytest

from tests.support.chromium import windows
from tests.support.django_shop import LETTERS, PASSWORD, start_django_shop
from tests.support.processes import ROOT
from tests.support.waiting import wait_until

pytestmark = pytest.mark.browser

PICTURE = ROOT / "docs" / "images" / "django-admin.png"
RENEW = "EVENTS_TEST_SCREENSHOTS"
SIZE = (1200, 800)


def test_dead_letters_are_looked_at_and_redriven(tmp_path: Path, redis_url: str) -> None:
    shop = start_django_shop(tmp_path / "shop", redis_url)
    for item in ("tea", "coffee", "tea", "tea"):
        shop.order(item, card="declined")
    shop.log_in()
    wait_until(lambda: len(shop.letters()) == 4, 30, "four dead letters")
    with windows(tmp_path / "profile", 1, SIZE) as [window]:
        window.open(f"{shop.url}/admin/login/?next={LETTERS}")
        window.type("#id_username", "admin")
        window.type("#id_password", PASSWORD, enter=True)
        wait_until(lambda: window.run("document.querySelectorAll('#result_list tbody tr').length") == 4, 30, "the list")
        picture = tmp_path / "list.png"
        window.screenshot(picture)
        assert struct.unpack(">II", picture.read_bytes()[16:24]) == SIZE
        text = window.text()
        for shown in ("order.placed v1", "gave_up", "the card of order 4 is declined", "1 to 4 of 4 dead letters"):
            assert shown in text

        window.run("document.querySelector('#action-toggle').click()")
        assert window.run("document.querySelectorAll('.action-select:checked').length") == 4
        window.run("document.querySelector('select[name=action]').value = 'redrive'")
        window.run("document.querySelector('.actions button').click()")
        wait_until(lambda: "Redrive 4 dead letters?" in window.text(), 30, "the question")
        window.screenshot(tmp_path / "question.png")
        window.run("document.querySelector('#content input[type=submit]').click()")
        wait_until(lambda: "4 of 4 redriven." in window.text(), 30, "the answer")

        wait_until(lambda: len(shop.letters()) == 4, 30, "four dead letters again")
        window.open(f"{shop.url}{LETTERS}{shop.letters()[0]}/change/")
        assert "GiveUp" in window.text()
        window.screenshot(tmp_path / "letter.png")
    if os.environ.get(RENEW):
        shutil.copy(picture, PICTURE)


def test_the_picture_in_the_docs_is_small() -> None:
    assert PICTURE.stat().st_size < 150_000
