"""Limit, Rate, Breaker: plain values, refused where they are written."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from functools import partial
from typing import Any

import pytest

from events_core import BindError, Breaker, EventsError, Limit, Rate

TEN_YEARS = 10 * 365 * 86400
NAN = float("nan")
INFINITE = float("inf")

Policy = type[Limit] | type[Rate] | type[Breaker]
GOOD: dict[Policy, dict[str, Any]] = {
    Limit: {"name": "smtp", "max": 10},
    Rate: {"name": "api", "count": 10},
    Breaker: {"name": "db"},
}
BOTH: list[Policy] = [Limit, Rate]


def by_tenant(event: Any) -> object:
    return event.tenant


async def by_tenant_later(event: Any) -> object:
    return event.tenant


def test_the_defaults_are_those_of_the_docs() -> None:
    """A lease of 30 s; one after the other within a second; five failures and a minute."""
    assert Limit("smtp", 10) == Limit(name="smtp", max=10, key=None, lease=30.0)
    assert Rate("api", 10) == Rate(name="api", count=10, per=1.0, key=None, burst=1)
    assert Breaker("db") == Breaker(name="db", fail_max=5, reset=60.0)


@pytest.mark.parametrize("policy", GOOD)
def test_a_policy_is_a_value(policy: Policy) -> None:
    """Frozen, compared by value and hashable, so that it can be defined once and shared by many handlers."""
    one, same = policy(**GOOD[policy]), policy(**GOOD[policy])
    assert one == same
    assert len({one, same}) == 1
    with pytest.raises(FrozenInstanceError):
        one.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    "policy, options",
    [
        (Limit, {"max": 1, "lease": 1}),
        (Limit, {"lease": 3600}),
        (Limit, {"name": "7"}),
        (Limit, {"name": "mail.smtp_v2:eu-1"}),
        (Limit, {"key": "tenant"}),
        (Limit, {"key": "address.city"}),
        (Limit, {"key": by_tenant}),
        (Limit, {"key": lambda event: event.tenant}),
        (Rate, {"count": 1, "per": TEN_YEARS}),
        (Rate, {"count": 1_000_000}),
        (Rate, {"count": 1, "per": 0.000_001}),
        (Rate, {"burst": 100}),
        (Breaker, {"fail_max": 1, "reset": 0.001}),
        (Breaker, {"reset": TEN_YEARS}),
    ],
)
def test_the_bounds_themselves_are_good(policy: Policy, options: dict[str, Any]) -> None:
    """From the least to the most that the docstrings name."""
    policy(**{**GOOD[policy], **options})


COUNTS = [0, -1, True, 1.5, 1.0, "3", None]


@pytest.mark.parametrize(
    "policy, option, value, told",
    [
        *[(Limit, "max", value, "a whole number from 1 on; to hold all back use `events pause`") for value in COUNTS],
        *[(Rate, "count", value, "a whole number from 1 on") for value in COUNTS],
        *[(Rate, "burst", value, "a whole number from 1 on") for value in COUNTS],
        *[(Breaker, "fail_max", value, "a whole number from 1 on") for value in COUNTS],
        *[
            (Limit, "lease", value, "from 1 to 3600 seconds")
            for value in (0, 0.99, -1, 3600.1, NAN, INFINITE, True, "30", None)
        ],
        *[
            (Rate, "per", value, "a number of seconds above 0")
            for value in (0, -1, TEN_YEARS + 1, NAN, INFINITE, True, "1", None)
        ],
        *[
            (Breaker, "reset", value, "from 0.001 to")
            for value in (0, 0.0009, -1, TEN_YEARS + 1, NAN, INFINITE, True, "60", None)
        ],
        *[
            (policy, "name", value, "a name consists of letters, digits and _ . : -, a letter or digit first")
            for policy in GOOD
            for value in ("", " ", "a b", "a|b", "a\n", "-a", ":a", "büro", 7, None)
        ],
        *[
            (policy, "key", value, "must be the path of a field, such as 'customer_id', or a function of the event")
            for policy in BOTH
            for value in ("", " ", "a b", ".a", "a.", "a..b", "a[0]", 7, ["a"], True)
        ],
        *[(policy, "key", by_tenant_later, "must be a plain function.*is async") for policy in BOTH],
        *[(policy, "key", partial(by_tenant_later), "must be a plain function.*is async") for policy in BOTH],
    ],
)
def test_what_cannot_work_is_refused_where_it_is_written(policy: Policy, option: str, value: Any, told: str) -> None:
    """The error shows the policy, names the option, and says what it must be."""
    with pytest.raises(BindError, match=rf"^{policy.__name__}\(.*{told}") as refused:
        policy(**{**GOOD[policy], option: value})
    assert option in str(refused.value)
    assert isinstance(refused.value, EventsError)


@pytest.mark.parametrize("count, per", [(1_000_001, 1.0), (2, 0.000_001), (10**400, 1.0)])
def test_a_rate_beyond_what_the_clock_of_redis_can_tell(count: int, per: float) -> None:
    """It would have an interval of nothing."""
    with pytest.raises(BindError, match="more than a million in a second is no rate: leave it out"):
        Rate("api", count, per)
