"""examples/online_chat in a real browser: two windows on two server processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chromium import Window, windows
from tests.support.online_chat import Server, start_server
from tests.support.waiting import wait_until

pytestmark = pytest.mark.browser

#: A folder: leave the pictures of docs/ there.
PICTURES = "EVENTS_TEST_PICTURES"
#: What a page must show as text, and never obey.
MARKUP = "<img src=x onerror=\"document.title='owned'\"><b>bold</b>"


@pytest.fixture
def servers(redis_url: str) -> list[Server]:
    return [start_server(redis_url), start_server(redis_url)]


@pytest.fixture
def ann_and_bob(servers: list[Server], tmp_path: Path) -> Iterator[list[Window]]:
    with windows(tmp_path / "profile", 2) as made:
        for window, server, name in zip(made, servers, ("ann", "bob"), strict=True):
            window.open(f"http://{server.address}/?name={name}")
            is_connected(window, server)
        yield made


def test_two_windows_on_two_servers(ann_and_bob: list[Window], tmp_path: Path) -> None:
    """What is typed in one window appears in the other, and back."""
    ann, bob = ann_and_bob
    say(ann, "Hello! Is anybody on the other server?", ann_and_bob)
    say(bob, "I am. And you are on yours.", ann_and_bob)
    say(ann, "Then the broker carries every word between them.", ann_and_bob)
    say(bob, "It does. Kill one of them, and I go on talking.", ann_and_bob)
    assert "bob" in messages(ann)
    assert "ann" in messages(bob)
    assert ann.run("document.querySelectorAll('#messages li').length") == 4
    assert ann.run("document.querySelectorAll('#messages li.mine').length") == 2
    for number, window in enumerate(ann_and_bob, 1):
        picture = Path(os.environ.get(PICTURES) or tmp_path) / f"online-chat-{number}.png"
        window.screenshot(picture)
        assert 1_000 < picture.stat().st_size < 150_000


def test_names_and_texts_are_never_markup(ann_and_bob: list[Window]) -> None:
    ann, bob = ann_and_bob
    ann.run("document.querySelector('#author').value = ''")
    ann.type("#author", "<i>ann</i>")
    say(ann, MARKUP, ann_and_bob)
    for window in ann_and_bob:
        assert "<i>ann</i>" in messages(window)
        assert window.run("document.querySelectorAll('#messages img, #messages i, .text b').length") == 0
        assert window.run("document.title") == "Online chat"
    say(bob, "nothing happened", ann_and_bob)


def test_a_browser_comes_back_to_a_server_that_was_killed(
    ann_and_bob: list[Window], servers: list[Server], redis_url: str
) -> None:
    ann, bob = ann_and_bob
    say(ann, "before", ann_and_bob)
    servers[0].process.kill9()
    wait_until(lambda: "not connected" in ann.text("#state"), what="ann to see that the server is gone")
    assert ann.run("document.querySelector('#send').disabled")
    say(bob, "bob alone", [bob])
    servers[0] = start_server(redis_url, servers[0].port)
    is_connected(ann, servers[0])
    say(ann, "here I am again", ann_and_bob)
    say(bob, "welcome back", ann_and_bob)
    assert messages(ann).count("before") == 1


def say(speaker: Window, text: str, listeners: list[Window]) -> None:
    """Type it, and wait until it is seen in these windows."""
    speaker.type("#text", text, enter=True)
    for window in listeners:
        wait_until(lambda window=window: text in messages(window), what=f"{text!r} to be seen")  # type: ignore[misc]


def messages(window: Window) -> str:
    return window.text("#messages")


def is_connected(window: Window, server: Server) -> None:
    wait_until(lambda: window.text("#state") == f"connected to {server.address}", what="the page to be connected")
