"""Which columns tell about which: the order in which a table's columns are coded, and the contexts each gets.

Everything is measured as bits on a sample: first what every column tells about every other alone (the sieve), then,
column by column, which combinations of the best help together. Chow and Liu, "Approximating discrete probability
distributions with dependence trees" (1968), made directed and given more than one parent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mdlake.coding.mixing import PREVIOUS, Context
from mdlake.coding.prequential import bits, chances
from mdlake.search.sample import places

Codes = NDArray[np.uint32]
ENOUGH = 0.005
"""A context is kept if it saves this share of what a column takes, or more."""


@dataclass(frozen=True)
class Reach:
    """How far to look: rows of the sample, parents and contexts a column may have, how long a chain of parents."""

    sample: int = 32768
    parents: int = 8
    contexts: int = 10
    depth: int = 1 << 30


@dataclass(frozen=True)
class Relation:
    """What one column is coded with: positions of columns coded before it, and contexts over them."""

    parents: tuple[int, ...] = ()
    contexts: tuple[Context, ...] = ()


@dataclass(frozen=True)
class Relations:
    """`order`: positions of all columns, parents first. `of[position]`."""

    order: tuple[int, ...]
    of: tuple[Relation, ...]


def relate(columns: Sequence[Codes | None], reach: Reach) -> Relations:
    """The relations of a table's columns (None: a column that takes no part). Deterministic."""
    usable = [i for i, codes in enumerate(columns) if codes is not None and len(codes) and codes.min() < codes.max()]
    others = [i for i in range(len(columns)) if i not in usable]
    relations = [Relation()] * len(columns)
    if len(usable) < 2 or reach.depth < 1:
        return Relations(tuple(range(len(columns))), tuple(relations))
    sampled = [_sampled(columns[i], reach.sample) for i in usable]
    alone = [min(bits(chances(c, context, _no_parent(c))) for context in ((), ((0, 0),))) for c in sampled]
    pairs = _sieve(sampled)
    order = _order(alone, pairs)
    depths = [0] * len(usable)
    for place, j in enumerate(order):
        before = [k for k in order[:place] if depths[k] < reach.depth]
        relation = _contexts(
            sampled, j, sorted(before, key=lambda k: pairs[j, k])[: 2 * reach.parents], alone[j], reach
        )
        depths[j] = 1 + max((depths[k] for k in relation.parents), default=-1)
        relations[usable[j]] = Relation(tuple(usable[k] for k in relation.parents), relation.contexts)
    return Relations((*(usable[j] for j in order), *others), tuple(relations))


def _no_parent(codes: Codes) -> Codes:
    return np.zeros((len(codes), 0), np.uint32)


def _sampled(codes: Codes | None, size: int) -> Codes:
    assert codes is not None
    starts, length = places(len(codes), size)
    part = np.concatenate([codes[start : start + length] for start in starts])
    return np.unique(part, return_inverse=True)[1].astype(np.uint32)


def _sieve(sampled: Sequence[Codes]) -> NDArray[np.float64]:
    """[j, k]: bits of column j where column k is known."""
    found = np.zeros((len(sampled), len(sampled)))
    for j, k in ((j, k) for j in range(len(sampled)) for k in range(len(sampled)) if j != k):
        found[j, k] = bits(chances(sampled[j], ((PREVIOUS, 0),), sampled[k][:, None]))
    return found


def _order(alone: Sequence[float], pairs: NDArray[np.float64]) -> list[int]:
    """Always the column next that is cheapest given one of those before."""
    left, order = list(range(len(alone))), []
    costs = list(alone)
    while left:
        j = min(left, key=lambda k: (costs[k], k))
        left.remove(j)
        order.append(j)
        for k in left:
            costs[k] = min(costs[k], pairs[k, j])
    return order


def _contexts(sampled: Sequence[Codes], j: int, near: Sequence[int], alone: float, reach: Reach) -> Relation:
    """Contexts for column j over `near`, best first: those whose predictions complement each other."""
    symbols = sampled[j]
    parents = np.stack([sampled[k] for k in near], 1) if near else _no_parent(symbols)
    tried: dict[Context, NDArray[np.float32]] = {}

    def measure(context: Context) -> float:
        if context not in tried:
            tried[context] = chances(symbols, context, parents)
        return bits(tried[context])

    singles = {((PREVIOUS + m, 0),): 0.0 for m in range(len(near))}
    singles = {context: measure(context) for context in singles}
    best = sorted(singles, key=lambda c: singles[c])[:6]
    level = [*best]
    for _ in range(2):
        wider = {tuple(sorted({*a, *b})) for a in level[:5] for b in [*best, ((0, 0),)]} - set(tried)
        costs = {context: measure(context) for context in sorted(wider)}
        level = sorted(costs, key=lambda c: costs[c])[:5]
    start = np.mean([chances(symbols, context, parents) for context in ((), ((0, 0),))], axis=0)
    chosen: list[Context] = []
    together, cost = start, bits(start)
    while len(chosen) < reach.contexts:
        gains = {}
        for context, found in tried.items():
            used = {s for c in (*chosen, context) for s, _ in c if s >= PREVIOUS}
            if context in chosen or len(used) > reach.parents:
                continue
            gains[context] = cost - bits((together * (len(chosen) + 1) + found) / (len(chosen) + 2))
        if not gains:
            break
        context = max(gains, key=lambda c: gains[c])
        if gains[context] < ENOUGH * cost + 64:
            break
        together = (together * (len(chosen) + 1) + tried[context]) / (len(chosen) + 2)
        cost -= gains[context]
        chosen.append(context)
    return _named(chosen, near)


def _named(contexts: Sequence[Context], near: Sequence[int]) -> Relation:
    """With parents numbered by their place in the relation's own list."""
    used = sorted({source - PREVIOUS for context in contexts for source, _ in context if source >= PREVIOUS})
    place = {PREVIOUS + m: PREVIOUS + n for n, m in enumerate(used)}
    renamed = tuple(tuple((place.get(s, s), shift) for s, shift in context) for context in contexts)
    return Relation(tuple(near[m] for m in used), renamed)
