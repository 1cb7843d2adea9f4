"""Windows of a headless Chromium, driven by its own remote debugging protocol."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.support import processes
from tests.support.finding import find
from tests.support.missing import missing
from tests.support.waiting import wait_until

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-background-timer-throttling",  # all windows are looked at
    "--disable-renderer-backgrounding",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
ANSWER = 30.0  # seconds


class Wire:
    """One connection to the browser, or to a window of it."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a command, whatever events come before it; AssertionError where it failed."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while (answer := json.loads(self._socket.recv(timeout=ANSWER))).get("id") != number:
            pass
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result


class Window:
    """One window of the browser."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def open(self, url: str) -> None:
        """Go there; returns when the page and its scripts have been loaded."""
        self._wire.call("Page.navigate", url=url)
        here = f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'"
        wait_until(lambda: self.run(here), ANSWER, f"{url} to be loaded")

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; AssertionError where it throws."""
        result = self._wire.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, f"{script}: {result['exceptionDetails']}"
        return result["result"].get("value")

    def type(self, selector: str, text: str, *, enter: bool = False) -> None:
        """Type a text into a field, as a person at the keyboard does."""
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self._wire.call("Input.insertText", text=text)
        if enter:
            key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
            for kind in ("keyDown", "keyUp"):
                self._wire.call("Input.dispatchKeyEvent", type=kind, **key)

    def text(self, selector: str = "body") -> str:
        """What a person reads there."""
        return str(self.run(f"document.querySelector({json.dumps(selector)}).innerText"))

    def screenshot(self, path: Path) -> None:
        """Save what is seen as a PNG."""
        path.write_bytes(base64.b64decode(self._wire.call("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def windows(profile: Path, number: int, size: tuple[int, int] = (560, 460)) -> Iterator[list[Window]]:
    """So many windows of a new Chromium. A machine without one skips the test, and says so.

    Args:
        profile: a folder for what it keeps.
        size: of each window, in pixels.
    """
    found = find("chromium", "chromium")
    if found is None:
        missing("no chromium: install it (Debian: apt-get install chromium)")
    browser = processes.start([found.binary, *FLAGS, f"--user-data-dir={profile}"], name="chromium")
    port, path = wait_until(lambda: _address(profile, browser), 60, "chromium to say where it listens")
    with ExitStack() as stack:
        whole = _wire(stack, port, path)
        made = []
        for _ in range(number):
            target = whole.call("Target.createTarget", url="about:blank", newWindow=True)["targetId"]
            wire = _wire(stack, port, f"/devtools/page/{target}")
            shape = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
            wire.call("Emulation.setDeviceMetricsOverride", **shape)
            made.append(Window(wire))
        yield made
        whole.call("Browser.close")
    browser.wait()


def _wire(stack: ExitStack, port: str, path: str) -> Wire:
    address = f"ws://127.0.0.1:{port}{path}"
    return Wire(stack.enter_context(connect(address, max_size=None, ping_interval=None, proxy=None)))


def _address(profile: Path, browser: processes.Process) -> list[str]:
    assert browser.alive, browser.log
    file = profile / "DevToolsActivePort"
    return file.read_text().splitlines() if file.exists() else []
