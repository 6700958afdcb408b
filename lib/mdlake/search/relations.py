"""Which columns tell about which: the order in which a table's columns are coded, and the contexts each gets.

Everything is measured as bits on a sample: first what every column tells about every other alone (the sieve), then,
column by column, which combinations of the best help together. Chow and Liu, "Approximating discrete probability
distributions with dependence trees" (1968), made directed and given more than one parent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mdlake.coding.mixing import PREVIOUS, Context
from mdlake.coding.predicting import likely_lags
from mdlake.coding.prequential import bits, chances, coarse
from mdlake.compositions import Composition
from mdlake.encodings.known import Codes, Numbers, Parent
from mdlake.expressions import Expression
from mdlake.search.composing import Compositions
from mdlake.search.formulas import Formulas, Found
from mdlake.search.order import Option, cheapest_order
from mdlake.search.sample import sample
from mdlake.search.sieve import Adaptive, Sieve, Static, alone, nearest, sampled
from mdlake.streams import numbers

NEARLY = 0.5
"""A column that takes no more than this share of itself where others are known may be looked up by these."""
WORTH = 0.97
"""A column that takes no more than this share of itself where others are known gets a context."""
EXACT = 0.01
"""A composition that leaves less than this share of a column is all that the column gets."""
PARTS = 128
"""Parts that the values of a column are put into where contexts are chosen for it."""
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
    remains: tuple[float, ...] = ()
    """Of each context that tables which do not adapt may have: what share of the column it leaves, in all rows."""
    compositions: tuple[Composition, ...] = ()


@dataclass(frozen=True)
class Relations:
    """`order`: positions of all columns, parents first. `of[position]`."""

    order: tuple[int, ...]
    of: tuple[Relation, ...]


def relate(columns: Sequence[Parent | None], reach: Reach) -> Relations:
    """The relations of a table's columns (None: a column that takes no part). Deterministic."""
    codes = {
        j: found for j, column in enumerate(columns) if column and (found := sampled(column.codes, reach.sample)).any()
    }
    relations = [Relation()] * len(columns)
    if len(codes) < 2 or reach.depth < 1:
        return Relations(tuple(range(len(columns))), tuple(relations))
    taking_part = {j: column for j, column in enumerate(columns) if column and j in codes}
    rows = len(next(iter(codes.values())))
    plain = {j: bits(chances(found, ())) for j, found in codes.items()}
    apart = {j: alone(found, plain[j]) for j, found in codes.items()}
    sieve = Static(taking_part, rows, reach.sample) if reach.static else Adaptive(codes, plain)
    others = nearest(codes)
    pairs = {(j, k): plain[j] - sieve.saved(j, (k,)) for j in codes for k in others[j]}
    figures = {j: numbers(sample(f, reach.sample)) for j, c in taking_part.items() if (f := c.numbers) is not None}
    formulas = Formulas(figures)
    known = {j: formulas.of(j, min(apart[j], *(pairs[j, k] for k in others[j])), others[j]) for j in formulas.columns}
    options = {j: list(_options(j, sieve, apart[j], plain[j], {k: pairs[j, k] for k in others[j]})) for j in codes}
    explained = [Option(j, frozenset(f.expression.parents), f.bits) for j in known for f in known[j][:4]]
    composed = Compositions(taking_part)
    texts = {j: composed.of(j, others[j]) for j in composed.columns}
    priced = [option for j in codes for option in composed.priced(options[j], texts.get(j, ()), codes[j])]
    order = cheapest_order([*priced, *explained])
    depths = dict.fromkeys(codes, 0)
    for place, j in enumerate(order):
        before = {k for k in order[:place] if depths[k] < reach.depth}
        formula = next((f for f in known.get(j, []) if before.issuperset(f.expression.parents)), None)
        written = [one for one in texts.get(j, ()) if before.issuperset(one.composition.parents)]
        if texts.get(j) and not written:
            written = composed.of(j, sorted(before.intersection(others[j])))
        if written and written[0].share < EXACT:
            relation = Relation()
        elif reach.static:
            relation = _static(before, options[j])
        else:
            near = sorted(before.intersection(others[j]), key=lambda k: pairs[j, k])[: 2 * reach.parents]
            steps = _steps(codes[j], figures.get(j))
            told = _told(codes[j], steps)
            relation = _contexts(told, [codes[k] for k in near], near, reach, steps is not None)
        relations[j] = _composed(_extended(relation, formula), written[0].composition if written else None)
        depths[j] = 1 + max((depths[k] for k in relations[j].parents), default=-1)
    left = (i for i in range(len(columns)) if i not in codes)
    return Relations((*order, *left), tuple(relations))


def _options(j: int, sieve: Sieve, apart: float, plain: float, given: Mapping[int, float]) -> Iterator[Option]:
    """What column j may take: by itself, with one parent, with two of the best six."""
    yield Option(j, frozenset(), apart)
    singles = sorted(given, key=lambda k: (given[k], k))
    for k in singles:
        if given[k] < apart:
            yield Option(j, frozenset({k}), given[k])
    for one, other in combinations(singles[:6], 2):
        price = plain - sieve.saved(j, (one, other))
        if price < min(given[one], given[other], apart):
            yield Option(j, frozenset({one, other}), price)


def _static(before: set[int], options: Sequence[Option]) -> Relation:
    """The best context of one column and the best of two, where they are worth it; lookups, if much follows."""
    apart = next(option.bits for option in options if not option.parents)
    allowed = [option for option in options if option.parents and before.issuperset(option.parents)]
    best = [
        min((o for o in allowed if len(o.parents) == many), key=lambda o: (o.bits, sorted(o.parents)), default=None)
        for many in (1, 2)
    ]
    chosen = [option for option in best if option and option.bits <= WORTH * apart]
    parents = tuple(dict.fromkeys(parent for option in chosen for parent in sorted(option.parents)))
    places_ = [tuple(parents.index(parent) for parent in sorted(option.parents)) for option in chosen]
    contexts = tuple(tuple((PREVIOUS + place, 0) for place in context) for context in places_)
    lookups = tuple(p for p, option in zip(places_, chosen, strict=True) if option.bits < NEARLY * apart)
    return Relation(parents, contexts, (), lookups, tuple(max(option.bits, 0) / apart for option in chosen))


def _extended(relation: Relation, formula: Found | None) -> Relation:
    """With a formula, and the parents that it needs."""
    if not formula:
        return relation
    parents = tuple(dict.fromkeys((*relation.parents, *formula.expression.parents)))
    place = {parent: at for at, parent in enumerate(parents)}
    return replace(relation, parents=parents, formulas=((formula.how, formula.expression.renumbered(place)),))


def _composed(relation: Relation, composition: Composition | None) -> Relation:
    """With a composition, and the parents that it needs."""
    if not composition:
        return relation
    parents = tuple(dict.fromkeys((*relation.parents, *composition.parents)))
    places = {parent: at for at, parent in enumerate(parents)}
    return replace(relation, parents=parents, compositions=(composition.renumbered(places),))


def _told(codes: Codes, steps: Numbers | None) -> Codes:
    """What contexts have to tell of a column: about where its values are or, of a series, how wide its steps are."""
    if steps is None:
        counts = np.bincount(codes)
        return coarse(counts, PARTS)[codes] if len(counts) > PARTS else codes
    widths = 2 * np.frexp(np.abs(steps.astype(np.float64)))[1] + (steps < 0)
    return np.unique(np.maximum(widths, 0), return_inverse=True)[1].astype(np.uint32)


def _steps(codes: Codes, figures: Numbers | None) -> Numbers | None:
    """Of a series, numbers that hardly come again, the steps at its best lag; None of other columns."""
    if figures is None or int(codes.max()) < len(codes) // 4:
        return None
    lag = likely_lags(figures)[0]
    return np.diff(figures, prepend=figures[:1]) if lag == 1 else figures - np.roll(figures, lag)


def _contexts(symbols: Codes, codes: Sequence[Codes], near: Sequence[int], reach: Reach, series: bool) -> Relation:
    """Contexts for a column of these symbols over those near it, best first: they complement each other."""
    parents = np.stack(codes, 1) if near else np.zeros((len(symbols), 0), np.uint32)
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
    if series:  # what a prediction leaves may depend on columns that tell nothing of the values
        used = {source for context in chosen for source, _ in context}
        others = [((PREVIOUS + m, 0),) for m in range(len(near)) if PREVIOUS + m not in used]
        chosen += others[: reach.contexts - len(chosen)]
    return _named(chosen, near)


def _named(contexts: Sequence[Context], near: Sequence[int]) -> Relation:
    """With parents numbered by their place in the relation's own list."""
    used = sorted({source - PREVIOUS for context in contexts for source, _ in context if source >= PREVIOUS})
    place = {PREVIOUS + m: PREVIOUS + n for n, m in enumerate(used)}
    renamed = tuple(tuple((place.get(s, s), shift) for s, shift in context) for context in contexts)
    return Relation(tuple(near[m] for m in used), renamed)
