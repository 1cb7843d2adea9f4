"""The shipped contract of limiters: on the scripts in Redis, and on the one in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from events_core.admission.client import Grant
from events_core.testing.limit_contract import LimitContract
from events_core.testing.memory import InMemoryLimiter
from tests.support.admission import Gatehouse


class Memory(InMemoryLimiter):
    def __init__(self) -> None:
        self.grants: list[Grant] = []
        super().__init__(self.grants.extend)


class TestInMemory(LimitContract):
    @pytest.fixture
    def limiter(self) -> Memory:
        return Memory()


class TestAdmission(LimitContract):
    @pytest.fixture
    def limiter(self, redis_url: str) -> Iterator[Gatehouse]:
        house = Gatehouse(redis_url)
        yield house
        house.close()
