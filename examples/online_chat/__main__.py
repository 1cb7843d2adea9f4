"""``python -m examples.online_chat``: two servers, two people, one conversation; then one server is killed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from websockets.sync.client import ClientConnection, connect

from examples.stage import DemoFailed, Stage, show

PATIENCE = 30.0  # seconds
APP = "examples.online_chat.web:app"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a browser, without the browser."""

    name: str
    socket: ClientConnection

    def say(self, text: str) -> None:
        """Say it, and return when it is seen on one's own screen."""
        self.socket.send(json.dumps({"author": self.name, "text": text}))
        self.sees(text)

    def sees(self, text: str) -> str:
        """The author of the next message; DemoFailed unless it is this one."""
        message = json.loads(self.socket.recv(timeout=PATIENCE))
        if message.get("text") != text:
            raise DemoFailed(f"{self.name} sees {message}, but {text!r} was said")
        return str(message["author"])


@contextmanager
def person(name: str, server: str) -> Iterator[Person]:
    """Somebody who looks at that server's page."""
    with connect(f"{server.replace('http', 'ws', 1)}/chat", proxy=None) as socket:
        yield Person(name, socket)


def run(stage: Stage) -> None:
    """Ann is on one server, Bob on the other."""
    first, here = stage.web("first", APP)
    _, there = stage.web("second", APP)
    print("two servers run, and know each other by the broker alone")
    with person("bob", there) as bob:
        with person("ann", here) as ann:
            talk(ann, bob)
            talk(bob, ann)
            first.kill()
            print("the first server is killed")
        bob.say("ann?")
        print("bob goes on by himself: ann?")
        with person("ann", there) as ann:
            missed = [ann.sees(text) for text in ("hello from ann", "hello from bob", "ann?")]
            print(f"ann comes back by the second server, and sees the last {len(missed)} messages")
            talk(ann, bob)


def talk(speaker: Person, listener: Person) -> None:
    """One says something, and both see it."""
    text = f"hello from {speaker.name}"
    speaker.say(text)
    print(f"{listener.name} sees: <{listener.sees(text)}> {text}", flush=True)


if __name__ == "__main__":
    sys.exit(show("online-chat", run))
