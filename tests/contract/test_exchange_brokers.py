"""The shipped contract of message brokers, on topic exchanges of a transport of kombu's that is neither of the two."""

from __future__ import annotations

from dataclasses import replace

import pytest

from events_core.brokers import ExchangeBroker
from events_core.testing.broker_contract import BrokerContract
from tests.support.exchanges import InMemory


class TestExchangesOfKombu(BrokerContract):
    """Its memory transport keeps all that a queue can, as long as the process lives; it does not promise it."""

    promises = replace(ExchangeBroker.promises, durable=False)
    has_server = False
    test_it_promises_what_is_tested = None
    # it does not tell that a message was delivered before
    test_what_is_given_back_comes_again = test_what_is_acknowledged_does_not_come_again = None

    @pytest.fixture
    def server(self) -> InMemory:
        return InMemory()
