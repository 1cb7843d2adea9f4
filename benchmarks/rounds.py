"""Alternating rounds: what disturbs one side of a comparison disturbs the other as well."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

#: A measurement: does its work once and returns its figure.
Measure = Callable[[], float]


@dataclass(frozen=True)
class Effort:
    """How much is measured. quick: only enough to see that everything works; its figures mean nothing."""

    quick: bool = False

    def rounds(self, full: int) -> int:
        """The number of rounds, where a full run makes `full` of them."""
        return min(full, 2) if self.quick else full

    def times(self, full: int) -> int:
        """The number of repetitions, where a full run makes `full` of them."""
        return max(full // 20, 10) if self.quick else full


def alternate(
    rounds: int,
    measures: Sequence[Callable[[], T]],
    between: Callable[[], object] | None = None,
    warm_up: Callable[[], object] | None = None,
) -> list[list[T]]:
    """Take the measures in turn (A B C, A B C, ...) and return the figures of each, one per round.

    A first turn, in which connections are made and caches filled, is not counted.
    between: called after each measure, outside of the time it measures.
    warm_up: called instead of that first turn, where one takes minutes.
    """
    figures: list[list[T]] = [[] for _ in measures]
    if warm_up is not None:
        warm_up()
    for turn in range(rounds + 1) if warm_up is None else range(1, rounds + 1):
        for index, measure in enumerate(measures):
            gc.collect()
            figure = measure()
            if turn:
                figures[index].append(figure)
            if between is not None:
                between()
    return figures


def microseconds(work: Callable[[], object], times: int, per: int = 1) -> Measure:
    """A measure: microseconds that one of `per` parts of `work` takes, done `times` times."""

    def measure() -> float:
        begin = time.perf_counter()
        for _ in range(times):
            work()
        return (time.perf_counter() - begin) / times / per * 1e6

    return measure
