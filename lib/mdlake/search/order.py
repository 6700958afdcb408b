"""The order of a table's columns: which to know before which, so that all together take the fewest bits.

Every column has options: sets of other columns, and what it takes if these come first. An order is worth the sum of
each column's best option that it allows. Found greedily, always the cheapest column next, then mended: a column moves
behind the parents of an option that it wants, or these before it, as long as that pays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROUNDS = 200
"""The most moves."""
_TOGETHER = 64


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
    cost = prices.of([order])[0]
    for _ in range(ROUNDS):
        moves = list(_moves(order, options))
        costs = prices.of(moves)
        best = int(np.argmin(costs)) if moves else 0
        if not moves or costs[best] >= cost - 1:
            break
        cost, order = costs[best], moves[best]
    return order


class _Prices:
    """What orders cost, all options at once."""

    def __init__(self, options: Sequence[Option]) -> None:
        options = sorted(options, key=lambda option: option.column)
        self._columns = np.array([option.column for option in options])
        self._starts = np.flatnonzero(np.diff(self._columns, prepend=-1))
        self._bits = np.array([option.bits for option in options])
        widest = max(1, *(len(option.parents) for option in options))
        self._parents = np.array([(sorted(o.parents) + [-1] * widest)[:widest] for o in options], np.intp)

    def of(self, orders: Sequence[Sequence[int]]) -> NDArray[np.float64]:
        """[orders]"""
        costs = np.empty(len(orders))
        for first in range(0, len(orders), _TOGETHER):
            some = np.array(orders[first : first + _TOGETHER])
            places = np.zeros((len(some), int(self._columns[-1]) + 2), np.int32)
            np.put_along_axis(places, some, np.arange(1, some.shape[1] + 1, dtype=np.int32)[None], 1)
            own = places[:, self._columns]  # place 0, at the end, is that of no parent
            met = np.all([places[:, parents] < own for parents in self._parents.T], axis=0)
            best = np.minimum.reduceat(np.where(met, self._bits, np.inf), self._starts, axis=1)
            costs[first : first + _TOGETHER] = best.sum(axis=1)
        return costs


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
