"""The order of a table's columns: which to know before which, so that all together take the fewest bits.

Every column has options: sets of other columns, and what it takes if these come first. An order is worth the sum of
each column's best option that it allows. Found greedily, always the cheapest column next, then mended: a column moves
behind the parents of an option that it wants, or these before it, as long as that pays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

ROUNDS = 200
"""The most moves."""


@dataclass(frozen=True)
class Option:
    """What `column` takes where `parents` are known."""

    column: int
    parents: frozenset[int]
    bits: float


def cheapest_order(options: Sequence[Option]) -> list[int]:
    """All columns that have options, in the cheapest order found. Each needs an option without parents."""
    prices = _Prices(options)
    order = _greedy(options)
    cost = prices.of(order)
    for _ in range(ROUNDS):
        moves = [(prices.of(moved), place, moved) for place, moved in enumerate(_moves(order, options))]
        best = min(moves, key=lambda move: move[:2], default=None)
        if best is None or best[0] >= cost - 1:
            break
        cost, _, order = best
    return order


class _Prices:
    """What orders cost, all options at once."""

    def __init__(self, options: Sequence[Option]) -> None:
        self._columns = np.array([option.column for option in options])
        self._bits = np.array([option.bits for option in options])
        widest = max(1, *(len(option.parents) for option in options))
        self._parents = np.array([(sorted(o.parents) + [-1] * widest)[:widest] for o in options], np.intp)
        self._size = int(self._columns.max()) + 1

    def of(self, order: Sequence[int]) -> float:
        places = np.zeros(self._size + 1)
        places[list(order)] = np.arange(len(order)) + 1.0  # place 0, at the end, is that of no parent
        met = (places[self._parents] < places[self._columns, None]).all(axis=1)
        best = np.full(self._size, np.inf)
        np.minimum.at(best, self._columns[met], self._bits[met])
        return float(best[list(order)].sum())


def _greedy(options: Sequence[Option]) -> list[int]:
    costs = {option.column: option.bits for option in options if not option.parents}
    order: list[int] = []
    while costs:
        column = min(costs, key=lambda c: (costs[c], c))
        order.append(column)
        del costs[column]
        for option in options:
            if option.column in costs and column in option.parents and option.parents.issubset(order):
                costs[option.column] = min(costs[option.column], option.bits)
    return order


def _moves(order: Sequence[int], options: Sequence[Option]) -> Iterator[list[int]]:
    places = {column: place for place, column in enumerate(order)}
    for option in options:
        late = [parent for parent in option.parents if places[parent] > places[option.column]]
        if late:
            rest = [column for column in order if column != option.column]
            at = max(rest.index(parent) for parent in option.parents) + 1
            yield [*rest[:at], option.column, *rest[at:]]
            rest = [column for column in order if column not in late]
            at = rest.index(option.column)
            yield [*rest[:at], *sorted(late, key=lambda parent: places[parent]), *rest[at:]]
