"""examples/online_chat: two server processes on a real Redis, and people who talk across them."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import uuid
from datetime import UTC, datetime

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import CloseCode

from examples.online_chat.chat import MessageSent
from examples.online_chat.lobby import REMEMBERED, Lobby
from tests.support.online_chat import Person, Server, any_text, start_server, visiting
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.apps


@pytest.fixture
def servers(redis_url: str) -> tuple[Server, Server]:
    return start_server(redis_url), start_server(redis_url)


def test_what_is_said_on_one_server_is_seen_on_both(servers: tuple[Server, Server]) -> None:
    here, there = servers
    with visiting(here) as ann, visiting(there) as bob:
        ann.say("hello")
        seen = [ann.next(), bob.next()]
        assert seen[0] == seen[1]
        assert (seen[0]["author"], seen[0]["text"], seen[0]["server"]) == ("ann", "hello", here.address)
        bob.say("hello yourself", "bob")
        assert ann.texts(1) == bob.texts(1) == ["hello yourself"]
        for number in range(50):
            ann.say(str(number))
        assert bob.texts(50) == ann.texts(50) == [str(number) for number in range(50)]


def test_a_server_that_is_killed_takes_nobody_else_along(servers: tuple[Server, Server], redis_url: str) -> None:
    here, there = servers
    with visiting(there) as bob:
        with visiting(here) as ann:
            ann.say("before")
            assert ann.texts(1) == bob.texts(1) == ["before"]
            here.process.kill9()
            with pytest.raises(ConnectionClosed):
                ann.next()
        bob.say("after", "bob")
        assert bob.texts(1) == ["after"]
        with visiting(there) as ann:
            assert ann.texts(2) == ["before", "after"], "who comes back sees what was said last"
            start_server(redis_url, here.port)
            with visiting(here) as carol:
                carol.say("I am new here", "carol")
                assert ann.texts(1) == bob.texts(1) == carol.texts(1) == ["I am new here"]


def test_a_visitor_who_does_not_read_holds_up_nobody(servers: tuple[Server, Server]) -> None:
    """It is cut off when too much waits for it, and sees the last messages when it comes back."""
    here, _ = servers
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.connect(("127.0.0.1", here.port))
    with visiting(here, sock=narrow, compression=None) as slow, visiting(here) as ann:
        for _ in range(20):
            for _ in range(50):
                ann.say("\N{SPEAKING HEAD IN SILHOUETTE}" * 2000)
            assert len(ann.texts(50)) == 50
        ann.say("all is well")
        assert ann.texts(1) == ["all is well"]
        with pytest.raises(ConnectionClosed) as closed:
            [slow.next() for _ in range(2000)]
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == CloseCode.TRY_AGAIN_LATER
    with visiting(here) as again:
        assert again.texts(50)[-1] == "all is well"


def test_what_is_no_message_is_told_to_its_sender_alone(servers: tuple[Server, Server]) -> None:
    here, there = servers
    with visiting(here) as ann, visiting(there) as bob:
        for sent in ({"author": "", "text": "a"}, {"author": "a", "text": " "}, {"text": "b" * 2001}, [], "x"):
            ann.send(sent)
            assert "please" in ann.next()["error"]
        ann.say("now a real one")
        assert bob.texts(1) == ["now a real one"]


def test_pages_of_other_sites_are_refused(servers: tuple[Server, Server]) -> None:
    with pytest.raises(InvalidStatus), visiting(servers[0], origin="https://elsewhere.example"):
        pass
    with visiting(servers[0], origin=f"http://{servers[0].address}") as ann:
        ann.say("from our page")
        assert ann.texts(1) == ["from our page"]


def test_while_redis_is_away_senders_are_told_and_afterwards_all_goes_on(own_redis_server: RedisServer) -> None:
    url = own_redis_server.url()
    here, there = start_server(url), start_server(url)
    with visiting(here) as ann, visiting(there) as bob:
        ann.say("one")
        assert ann.texts(1) == bob.texts(1) == ["one"]
        own_redis_server.kill()
        ann.say("lost")
        assert "try again" in ann.next()["error"]
        wait_until(lambda: not healthy(here), what="the health check to say so")
        own_redis_server.start()
        wait_until(lambda: healthy(here) and healthy(there), what="both servers to be connected again")
        text = any_text()
        ann.say(text)
        assert [heard(ann, text), heard(bob, text)] == [text, text]


def test_a_server_ends_in_order_with_people_on_it(servers: tuple[Server, Server]) -> None:
    with visiting(servers[0]) as ann:
        ann.say("hello")
        assert ann.texts(1) == ["hello"]
        servers[0].process.signal(signal.SIGTERM)
        with pytest.raises(ConnectionClosed):
            ann.next()
    assert servers[0].process.wait() in (0, -signal.SIGTERM)


def healthy(server: Server) -> bool:
    return httpx.get(f"http://{server.address}/healthz", trust_env=False).status_code == 200


def heard(person: Person, text: str) -> str:
    """That text, after whatever was in doubt."""
    while (seen := person.next()).get("text") != text:
        pass
    return str(seen["text"])


def test_the_bus_may_bring_a_message_twice() -> None:
    """The lobby alone: it shows each message once, and remembers no more than it should."""

    async def talk() -> list[str]:
        lobby = Lobby()
        message = MessageSent(author="ann", text="hello", server="a")
        with lobby.visit() as visitor:
            lobby.show(message)
            lobby.show(message)
            for _ in range(REMEMBERED):
                lobby.show(MessageSent(author="ann", text="more", server="a"))
            first = [await visitor.next_message() for _ in range(2)]
        with lobby.visit() as late:
            assert json.loads(await late.next_message())["text"] == "more"
        return first

    first, second = (json.loads(message) for message in asyncio.run(talk()))
    assert (first["text"], second["text"]) == ("hello", "more")
    assert uuid.UUID(first["event_id"])
    assert datetime.fromisoformat(first["occurred_at"]).tzinfo == UTC
