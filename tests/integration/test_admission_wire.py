"""How the admission script reaches a real Redis: as a library or a script, over a connection that may have ended."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import select
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from events_core import EventSystem
from events_core.admission.wire import ScriptWire
from events_core.coordination import connect
from tests.support import servers
from tests.support.redis_server import GivenRedis, RedisServer, has_functions
from tests.support.waiting import wait_until

#: Adds one to a number, and says which version of it ran; no number is an error.
SOURCE = """
-- {mark}
local function run(keys, argv)
  return "{version} " .. redis.call("INCRBY", keys[1], argv[1])
end
"""


class House:
    """A Redis, and wires to it that run scripts which no other test has."""

    def __init__(self, server: RedisServer | GivenRedis) -> None:
        self.server = server
        self.url = server.empty()
        self.admin: Any = redis.Redis.from_url(self.url, decode_responses=True, protocol=3)
        self.mark = secrets.token_hex(8)
        self.users: list[str] = []
        self.wires: list[ScriptWire] = []

    def wire(self, version: str = "one", user: str = "") -> ScriptWire:
        """A process's wire. user: whom it logs in as."""
        login = {"username": user, "password": "secret"} if user else {}
        client = redis.Redis.from_url(self.url, decode_responses=True, protocol=2, retry=Retry(NoBackoff(), 0), **login)
        if user:
            client.connection_pool.connection_kwargs.update(login)  # those in the URL go first
        wire = ScriptWire(client, SOURCE.format(mark=self.mark, version=version))
        self.wires.append(wire)
        return wire

    def user(self, *rules: str) -> str:
        """A user who may do all but what the rules say."""
        name = f"events-test-{secrets.token_hex(4)}"
        self.users.append(name)
        self.admin.execute_command("ACL", "SETUSER", name, "on", ">secret", "~*", "&*", "+@all", *rules)
        return name

    def libraries(self) -> list[str]:
        """Those with the sources of this test."""
        listed = self.admin.execute_command("FUNCTION", "LIST", "WITHCODE")
        return [one["library_name"] for one in listed if self.mark in one["library_code"]]

    def is_script(self, wire: ScriptWire) -> bool:
        """Whether Redis has it as a script."""
        return bool(self.admin.script_exists(hashlib.sha1(wire._script.encode()).hexdigest())[0])

    def close(self) -> None:
        for wire in self.wires:
            wire.close()
        for name in self.libraries():
            self.admin.execute_command("FUNCTION", "DELETE", name)
        for name in self.users:
            self.admin.acl_deluser(name)
        self.admin.close()


@pytest.fixture
def house(redis_server: RedisServer | GivenRedis) -> Iterator[House]:
    if not has_functions(redis_server.version):
        pytest.skip(f"Redis {redis_server.version} has no functions")
    house = House(redis_server)
    yield house
    house.close()


def socket_of(wire: ScriptWire) -> Any:
    return wire._connection._connection._sock


def end_connection(house: House, wire: ScriptWire) -> None:
    """Redis closes it, and the wire's end has heard so."""
    host, port = socket_of(wire).getsockname()
    assert house.admin.client_kill_filter(addr=f"{host}:{port}") == 1
    wait_until(lambda: select.select([socket_of(wire)], [], [], 0)[0], what="the end of the connection to arrive")


class TestAsALibrary:
    def test_it_is_one(self, house: House) -> None:
        wire = house.wire()
        assert [wire.run("k", "1"), wire.run("k", b"2")] == ["one 1", "one 3"]
        assert len(house.libraries()) == 1
        assert not house.is_script(wire)

    def test_it_is_loaded_again_after_a_flush(self, house: House) -> None:
        wire = house.wire()
        wire.run("k", "1")
        if isinstance(house.server, GivenRedis):
            house.admin.execute_command("FUNCTION", "DELETE", *house.libraries())  # others have theirs there
        else:
            house.admin.execute_command("FUNCTION", "FLUSH")
        assert house.libraries() == []
        assert wire.run("k", "1") == "one 2"
        assert len(house.libraries()) == 1
        assert not house.is_script(wire)

    def test_two_versions_live_beside_each_other(self, house: House) -> None:
        """Workers of two deployments: neither replaces what the other runs."""
        old, new = house.wire("old"), house.wire("new")
        replies = [wire.run("k", "1") for wire in (old, new, old, new)]
        assert replies == ["old 1", "new 2", "old 3", "new 4"]
        assert len(house.libraries()) == 2

    def test_two_processes_load_the_same(self, house: House) -> None:
        assert [house.wire().run("k", "1") for _ in range(2)] == ["one 1", "one 2"]
        assert len(house.libraries()) == 1


class TestAsAScript:
    @pytest.mark.parametrize("rules", [("-function", "-fcall"), ("-function",), ("-fcall",)], ids=" ".join)
    def test_where_functions_are_not_permitted(self, house: House, rules: tuple[str, ...]) -> None:
        wire = house.wire(user=house.user(*rules))
        assert [wire.run("k", "1"), wire.run("k", "1")] == ["one 1", "one 2"]
        assert house.is_script(wire)
        house.admin.script_flush()
        assert wire.run("k", "1") == "one 3"
        assert house.is_script(wire)

    def test_one_who_may_call_but_not_load_uses_what_others_loaded(self, house: House) -> None:
        house.wire().run("k", "1")
        wire = house.wire(user=house.user("-function"))
        assert wire.run("k", "1") == "one 2"
        assert not house.is_script(wire)

    def test_where_neither_is_permitted(self, house: House) -> None:
        """It says so, each time; once it is permitted it goes on."""
        user = house.user("-function", "-fcall", "-evalsha")
        wire = house.wire(user=user)
        for _ in range(2):
            with pytest.raises(redis.exceptions.NoPermissionError):
                wire.run("k", "1")
        house.admin.execute_command("ACL", "SETUSER", user, "+evalsha")
        assert wire.run("k", "1") == "one 1"

    def test_on_a_redis_without_functions(self) -> None:
        """Redis 6.2 knows neither command."""
        server = servers.own_redis_without_functions()
        try:
            wire = ScriptWire(redis.Redis.from_url(server.url(), decode_responses=True), SOURCE)
            assert [wire.run("k", "1"), wire.run("k", "1")] == ["{version} 1", "{version} 2"]
            wire.close()
        finally:
            server.close()


class TestConnection:
    def test_one_that_ended_while_idle_is_replaced(self, house: House) -> None:
        wire = house.wire()
        wire.run("k", "1")
        end_connection(house, wire)
        wire._connection._used_at -= 10.0  # seconds
        assert wire.run("k", "1") == "one 2"

    def test_one_that_ended_just_now_is_an_error_and_then_replaced(self, house: House) -> None:
        """Whether the script ran is not known: only the caller knows whether it may run twice."""
        wire = house.wire()
        wire.run("k", "1")
        end_connection(house, wire)
        wire._connection._used_at += 3600.0  # however slow this machine is
        with pytest.raises(redis.ConnectionError):
            wire.run("k", "1")
        assert wire.run("k", "1") == "one 2"

    def test_an_idle_one_that_lives_is_kept(self, house: House) -> None:
        wire = house.wire()
        wire.run("k", "1")
        kept = socket_of(wire)
        wire._connection._used_at -= 10.0
        assert wire.run("k", "1") == "one 2"
        assert socket_of(wire) is kept

    @pytest.mark.parametrize("rules", [(), ("-function", "-fcall")], ids=["library", "script"])
    def test_an_error_of_the_script_leaves_it_usable(self, house: House, rules: tuple[str, ...]) -> None:
        wire = house.wire(user=house.user(*rules))
        wire.run("k", "1")
        kept = socket_of(wire)
        for _ in range(2):
            with pytest.raises(redis.ResponseError, match="not an integer"):
                wire.run("k", "many")
            assert wire.run("k", "0") == "one 1"  # its own reply, not that of another call
        assert socket_of(wire) is kept

    def test_after_close_it_connects_again(self, house: House) -> None:
        wire = house.wire()
        wire.run("k", "1")
        wire.close()
        assert wire.run("k", "1") == "one 2"

    def test_a_fork_gets_its_own(self, house: House) -> None:
        wire = house.wire()
        wire.run("k", "1")
        kept, port = socket_of(wire), socket_of(wire).getsockname()[1]
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                reply = wire.run("k", "1")
                os.write(writing, json.dumps([reply, socket_of(wire).getsockname()[1]]).encode())
                wire.close()
            finally:
                os._exit(0)
        os.close(writing)
        with open(reading) as pipe:
            reply, port_of_child = json.loads(pipe.read())
        os.waitpid(child, 0)
        assert reply == "one 2"
        assert port_of_child != port
        assert wire.run("k", "1") == "one 3"
        assert socket_of(wire) is kept


def test_a_client_makes_any_number_of_connections(redis_url: str) -> None:
    """From redis-py 8 on a pool makes a hundred in its life unless told otherwise, one for each wire among them."""
    client = connect(EventSystem("counting", broker_url=redis_url)).client
    for _ in range(110):
        wire = ScriptWire(client, SOURCE.format(mark="counting", version="one"))
        assert wire.run("key", "1").startswith("one ")
        wire.close()
