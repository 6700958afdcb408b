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

from mdlake.coding.mixing import PREVIOUS, Context
from mdlake.coding.prequential import bits, chances
from mdlake.compositions import Composition
from mdlake.encodings.known import NO_HINTS, Hints, Parent
from mdlake.search.composing import Compositions
from mdlake.search.contexts import chosen, views_of
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
    """What one column is coded with: positions of columns coded before it, and what to try with them."""

    parents: tuple[int, ...] = ()
    hints: Hints = NO_HINTS


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
    figures = {j: numbers(sample(f, reach.sample)) for j, c in taking_part.items() if (f := c.numbers) is not None}
    views = {} if reach.static else {j: views_of(found, figures.get(j), plain[j]) for j, found in codes.items()}
    steps = {j: view.symbols for j, seen in views.items() for view in seen if view.of_steps}
    sieve = Static(taking_part, rows, reach.sample) if reach.static else Adaptive(codes, plain, apart, steps)
    others = nearest(codes)
    pairs = {(j, k): plain[j] - sieve.saved(j, (k,)) for j in codes for k in others[j]}
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
            beside = np.stack([codes[k] for k in near], 1) if near else np.zeros((rows, 0), np.uint32)
            relation = _named(chosen(views[j], beside, reach.parents, reach.contexts), near)
        relations[j] = _extended(relation, formula, written[0].composition if written else None)
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
    remains = tuple(max(option.bits, 0) / max(apart, 1.0) for option in chosen)
    return Relation(parents, Hints(contexts, lookups=lookups, remains=remains))


def _extended(relation: Relation, formula: Found | None, composition: Composition | None) -> Relation:
    """With a formula and a composition, and the parents that these need."""
    needed = [program.parents for program in (formula and formula.expression, composition) if program]
    parents = tuple(dict.fromkeys(sum(needed, relation.parents)))
    places = {parent: at for at, parent in enumerate(parents)}
    hints = relation.hints
    if formula:
        hints = replace(hints, formulas=((formula.how, formula.expression.renumbered(places)),))
    if composition:
        hints = replace(hints, compositions=(composition.renumbered(places),))
    return Relation(parents, hints)


def _named(contexts: Sequence[Context], near: Sequence[int]) -> Relation:
    """With parents numbered by their place in the relation's own list."""
    used = sorted({source - PREVIOUS for context in contexts for source, _ in context if source >= PREVIOUS})
    place = {PREVIOUS + m: PREVIOUS + n for n, m in enumerate(used)}
    renamed = tuple(tuple((place.get(s, s), shift) for s, shift in context) for context in contexts)
    return Relation(tuple(near[m] for m in used), Hints(renamed))
