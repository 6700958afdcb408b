"""Which columns tell about which: the order in which a table's columns are coded, and the contexts each gets.

Everything is measured as bits on a sample: first what every column tells about every other alone (the sieve), then,
column by column, which combinations of the best help together. Chow and Liu, "Approximating discrete probability
distributions with dependence trees" (1968), made directed and given more than one parent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, permutations

import numpy as np
from numpy.typing import NDArray

from mdlake.coding.mixing import PREVIOUS, Context
from mdlake.coding.prequential import bits, chances
from mdlake.encodings.known import Codes, Numbers, Parent
from mdlake.expressions import Expression
from mdlake.search.formulas import Formulas, Found
from mdlake.search.order import Option, cheapest_order
from mdlake.search.sample import places

NEARLY = 0.3
"""A column that takes no more than this share of itself where others are known may be looked up by these."""
WORTH = 0.97
"""A column that takes no more than this share of itself where others are known gets a context."""
COARSE = 32
"""Parts of about equal size that a column's values are put into, to see whether where it is tells of another."""
ENOUGH = 0.005
"""A context is kept if it saves this share of what a column takes, or more."""


@dataclass(frozen=True)
class Reach:
    """How far to look: rows of the sample, parents and contexts a column may have, how long a chain of parents.

    `static`: one context for tables that do not adapt, and lookups, instead of contexts that are mixed.
    """

    sample: int = 32768
    parents: int = 8
    contexts: int = 10
    static: bool = False
    depth: int = 1 << 30


@dataclass(frozen=True)
class Relation:
    """What one column is coded with: positions of columns coded before it, and contexts and formulas over them."""

    parents: tuple[int, ...] = ()
    contexts: tuple[Context, ...] = ()
    formulas: tuple[tuple[str, Expression], ...] = ()
    lookups: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Relations:
    """`order`: positions of all columns, parents first. `of[position]`."""

    order: tuple[int, ...]
    of: tuple[Relation, ...]


def relate(columns: Sequence[Parent | None], reach: Reach) -> Relations:
    """The relations of a table's columns (None: a column that takes no part). Deterministic."""
    sampled = {i: s for i, column in enumerate(columns) if column and (s := _sampled(column, reach.sample)).varies}
    relations = [Relation()] * len(columns)
    if len(sampled) < 2 or reach.depth < 1:
        return Relations(tuple(range(len(columns))), tuple(relations))
    alone = {j: _alone(sample.codes) for j, sample in sampled.items()}
    figures = {j: sample.numbers for j, sample in sampled.items() if sample.numbers is not None}
    plain = {j: sample.bits for j, sample in sampled.items()}
    if reach.static:
        sampled = {j: sample.shuffled() for j, sample in sampled.items()}
    pairs = {(j, k): plain[j] - _saved(sampled[j], sampled[k]) for j, k in permutations(sampled, 2)}
    formulas = Formulas(figures)
    known = {j: formulas.of(j, min(alone[j], *(pairs[j, k] for k in sampled if k != j))) for j in figures}
    options = {j: list(_options(j, sampled, alone[j], plain[j], pairs)) for j in sampled}
    explained = [Option(j, frozenset(f.expression.parents), f.bits) for j in known for f in known[j][:4]]
    order = cheapest_order([*(option for own in options.values() for option in own), *explained])
    depths = dict.fromkeys(sampled, 0)
    for place, j in enumerate(order):
        before = {k for k in order[:place] if depths[k] < reach.depth}
        formula = next((f for f in known.get(j, []) if before.issuperset(f.expression.parents)), None)
        if reach.static:
            relation = _static(j, before, options[j])
        else:
            near = sorted(before, key=lambda k: pairs[j, k])[: 2 * reach.parents]
            relation = _contexts({k: sampled[k].codes for k in (j, *near)}, j, near, reach)
        relations[j] = _extended(relation, formula)
        depths[j] = 1 + max((depths[k] for k in relations[j].parents), default=-1)
    others = (i for i in range(len(columns)) if i not in sampled)
    return Relations((*order, *others), tuple(relations))


@dataclass(frozen=True, eq=False)
class _Sample:
    """Some rows of a column: codes without gaps, and its numbers if it has them."""

    codes: Codes
    numbers: Numbers | None

    @cached_property
    def coarse(self) -> Codes:
        """Codes of neighbours together, about as many of each."""
        counts = np.bincount(self.codes)
        return ((np.cumsum(counts) - counts) * COARSE // len(self.codes)).astype(np.uint32)[self.codes]

    @cached_property
    def bits(self) -> float:
        """Of the codes with no context."""
        return bits(chances(self.codes, ()))

    @cached_property
    def coarse_bits(self) -> float:
        return bits(chances(self.coarse, ()))

    def shuffled(self) -> _Sample:
        """The rows in no order: what static tables know of others they must know of any row."""
        order = np.argsort(np.arange(len(self.codes), dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
        return _Sample(self.codes[order], None)

    @property
    def varies(self) -> bool:
        return len(self.codes) > 0 and int(self.codes.max()) > 0


def _sampled(column: Parent, size: int) -> _Sample:
    starts, length = places(len(column.codes), size)

    def part(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values[start : start + length] for start in starts])

    numbers = part(column.numbers) if column.numbers is not None else None
    return _Sample(np.unique(part(column.codes), return_inverse=True)[1].astype(np.uint32), numbers)


def _alone(codes: Codes) -> float:
    """Bits of a column by itself: of its values, of its values after the one before, or of its steps."""
    steps = np.unique(np.diff(codes.astype(np.int64)), return_inverse=True)[1].astype(np.uint32)
    return min(bits(chances(codes, ())), bits(chances(codes, ((0, 0),))), bits(chances(steps, ())))


def _saved(child: _Sample, parent: _Sample) -> float:
    """Bits that a column takes less after another: as it is, or as whereabouts the other is tells whereabouts it is.

    The sample is too small to tell what each of many values says of each of many others.
    """
    exact = bits(chances(child.codes, ((PREVIOUS, 0),), parent.codes[:, None]))
    coarse = bits(chances(child.coarse, ((PREVIOUS, 0),), parent.coarse[:, None]))
    return max(child.bits - exact, child.coarse_bits - coarse)


def _options(
    j: int,
    sampled: Mapping[int, _Sample],
    alone: float,
    plain: float,
    pairs: Mapping[tuple[int, int], float],
) -> Iterator[Option]:
    """What column j may take: by itself, with one parent, with two of the best six."""
    yield Option(j, frozenset(), alone)
    singles = sorted((k for k in sampled if k != j), key=lambda k: (pairs[j, k], k))
    for k in singles:
        if pairs[j, k] < alone:
            yield Option(j, frozenset({k}), pairs[j, k])
    for one, other in combinations(singles[:6], 2):
        both = np.stack([sampled[one].codes, sampled[other].codes], 1)
        saved = sampled[j].bits - bits(chances(sampled[j].codes, ((PREVIOUS, 0), (PREVIOUS + 1, 0)), both))
        price = plain - saved
        if price < min(pairs[j, one], pairs[j, other], alone):
            yield Option(j, frozenset({one, other}), price)


def _static(j: int, before: set[int], options: Sequence[Option]) -> Relation:
    """One context for column j, of one or two columns; a lookup too, if it nearly follows from these."""
    best = min((o for o in options if before.issuperset(o.parents)), key=lambda o: (o.bits, sorted(o.parents)))
    alone = next(option.bits for option in options if not option.parents)
    if best.bits > WORTH * alone:
        return Relation()
    places_ = tuple(range(len(best.parents)))
    context = tuple((PREVIOUS + place, 0) for place in places_)
    return Relation(tuple(sorted(best.parents)), (context,), (), (places_,) if best.bits < NEARLY * alone else ())


def _extended(relation: Relation, formula: Found | None) -> Relation:
    """With a formula, and the parents that it needs."""
    if not formula:
        return relation
    parents = tuple(dict.fromkeys((*relation.parents, *formula.expression.parents)))
    place = {parent: at for at, parent in enumerate(parents)}
    return replace(relation, parents=parents, formulas=((formula.how, formula.expression.renumbered(place)),))


def _contexts(sampled: Mapping[int, Codes], j: int, near: Sequence[int], reach: Reach) -> Relation:
    """Contexts for column j over `near`, best first: those whose predictions complement each other."""
    symbols = sampled[j]
    parents = np.stack([sampled[k] for k in near], 1) if near else np.zeros((len(symbols), 0), np.uint32)
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
    start = np.mean([chances(symbols, context) for context in ((), ((0, 0),))], axis=0)
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
