"""What a Redis that refuses says, in every version and behind every class of redis-py."""

from __future__ import annotations

import pytest
import redis
from redis.exceptions import MasterDownError

from events_core.transport.errors import code_of

SCRIPT = "Error running script (call to f_119b0beb461d5982ddacc6dda6829882d5e16b4d): @user_script:"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (redis.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), "OOM"),
        (redis.ReadOnlyError("You can't write against a read only replica."), "READONLY"),
        (MasterDownError("Link with MASTER is down and replica-serve-stale-data is set to 'no'."), "MASTERDOWN"),
        (redis.ResponseError("MISCONF Redis is configured to save RDB snapshots"), "MISCONF"),
        (redis.ResponseError(f"{SCRIPT}1: @user_script: 1: -OOM command not allowed when used memory"), "OOM"),
        (redis.ResponseError(f"{SCRIPT}2: @user_script: 2: -READONLY You can't write against"), "READONLY"),
        (redis.ResponseError(f"{SCRIPT}594: WRONGTYPE Operation against a key holding"), "WRONGTYPE"),
        (redis.ResponseError(f"{SCRIPT}3: attempt to index a nil value"), ""),
        (redis.ResponseError("unknown command `FUNCTION`, with args beginning with: `LOAD`"), ""),
        (redis.ConnectionError("OOM killed it"), ""),
    ],
)
def test_the_code_is_found(error: redis.RedisError, code: str) -> None:
    assert code_of(error) == code
