"""Running one script over one connection: as little as possible between a caller and Redis."""

from __future__ import annotations

import hashlib
import re
import time
from typing import Any

import redis

from events_core.redis_connection import Packed, RedisConnection, packed, send

#: Seconds to look for a reply that is about to come: a thread that sleeps is awake some 80 us after it has.
_LOOK = 0.0002
#: After the name of a function: the one that is carried out where memory is full.
_FREEING = "_freeing"
_NO_FUNCTIONS = re.compile(r"(unknown command|permissions to run the) .(fcall|function)", re.IGNORECASE)


class ScriptWire:
    """Runs a script on a connection of its own, one call at a time. Connects on first use; a fork drops it.

    client: whose connection settings are used. source: Lua that defines ``run(keys, argv)``. It is loaded as a library,
    so that Redis makes its functions once and not for each call, which would take as long as what they do; Redis
    before 7, and one that permits no functions, gets it as a script. redis-py's own way to a script's reply takes twice
    as long: it borrows a connection, looks for retries, and parses options for each call.
    """

    def __init__(self, client: redis.Redis, source: str) -> None:
        digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        name = f"events_admission_{digest}"  # those of other versions stay beside it
        self._library = (
            f"#!lua name={name}\n{source}\nredis.register_function('{name}', run)\n"
            f"redis.register_function{{function_name='{name}{_FREEING}', callback=run, flags={{'allow-oom'}}}}"
        )
        self._script = f"{source}\nreturn run(KEYS, ARGV)"
        self._function = packed("FCALL", name, "1")
        self._freeing = packed("FCALL", name + _FREEING, "1")
        self._evalsha = packed("EVALSHA", hashlib.sha1(self._script.encode(), usedforsecurity=False).hexdigest(), "1")
        self._libraries = True
        self._connection = RedisConnection(client)
        self._sent = False
        #: Whether replies have come, lately, before or while they were looked for.
        self._near = True

    def run(self, key: str, *arguments: str | bytes, freeing: bool = False) -> Any:
        """The reply. freeing: it gives more memory back than it takes, and is carried out by a full Redis too.

        Raises redis-py's errors; whether the script ran is not known after one of the connection.
        """
        function = self._freeing if freeing else self._function
        return self._connection.use(self._run, function, packed(key, *arguments))

    def send(self, key: str, *arguments: str | bytes) -> None:
        """The first half of `run`: the reply must be read before anything else is sent. Raises redis-py's errors."""
        self._sent = False
        self._connection.use(send, self._function if self._libraries else self._evalsha, packed(key, *arguments))
        self._sent = True

    def receive(self) -> Any:
        """The reply to what was sent. Raises redis-py's errors, also where the script is not loaded: `run` loads it."""
        if not self._sent:
            raise redis.ConnectionError("nothing was sent, or its connection has ended")
        self._sent = False
        try:
            return self._connection.use(self._receive)
        except redis.ResponseError as error:
            self._libraries = self._libraries and not _is_refused(error)
            raise

    def _receive(self, connection: Any) -> Any:
        if connection.can_read(0):
            self._near = True
        elif self._near:
            until = time.monotonic() + _LOOK
            while not (found := connection.can_read(0)) and time.monotonic() < until:
                pass
            self._near = found  # one that is far away is looked for in vain
        return connection.read_response()

    def _run(self, connection: Any, function: Packed, arguments: Packed) -> Any:
        if self._libraries:
            try:
                return _ask(connection, function, arguments)
            except redis.ResponseError as error:
                if "function not found" not in str(error).lower() and not _is_refused(error):
                    raise
            try:
                _ask(connection, packed("FUNCTION", "LOAD", "REPLACE", self._library))
                return _ask(connection, function, arguments)
            except redis.ResponseError as error:
                if not _is_refused(error):
                    raise
                self._libraries = False
        try:
            return _ask(connection, self._evalsha, arguments)
        except redis.exceptions.NoScriptError:
            _ask(connection, packed("SCRIPT", "LOAD", self._script))
            return _ask(connection, self._evalsha, arguments)

    def close(self) -> None:
        """Close the connection; it can be used again."""
        self._connection.close()


def _ask(connection: Any, *parts: Packed) -> Any:
    send(connection, *parts)
    return connection.read_response()


def _is_refused(error: redis.ResponseError) -> bool:
    """Whether Redis has no functions, or permits none."""
    return _NO_FUNCTIONS.search(str(error)) is not None
