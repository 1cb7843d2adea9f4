"""What Redis and its connections raise."""

from __future__ import annotations

import re

import redis
from redis.exceptions import MasterDownError

#: By a connection that is broken, or leads to a server that has become a replica.
LOST = (redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError, OSError)
#: Also by a Redis that refuses: its disk is full, it misses replicas. There is nothing to do but to come again.
FAILED = (*LOST, redis.ResponseError)

_CODE = re.compile(r"(?:Error running script .*@user_script: ?\d+: -?)?([A-Z]+) ", re.DOTALL)
#: redis-py leaves these out of what it says.
_CLASSES = {redis.OutOfMemoryError: "OOM", redis.ReadOnlyError: "READONLY", MasterDownError: "MASTERDOWN"}


def code_of(error: BaseException) -> str:
    """Why Redis refuses, as its protocol has it: OOM, READONLY, MISCONF, WRONGTYPE. Empty where there is no code.

    A Redis before 7 that refuses what a script asks for calls it an error of the script, and has the code behind that.
    """
    for kind, code in _CLASSES.items():
        if isinstance(error, kind):
            return code
    found = _CODE.match(str(error))
    return found[1] if found and isinstance(error, redis.ResponseError) else ""
