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
from mdlake.encodings.known import NO_HINTS, Codes, Hints, Parent
from mdlake.search.composing import Compositions
from mdlake.search.contexts import View, chosen, views_of
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
    evidence = _Evidence({j: column for j, column in enumerate(columns) if column and j in codes}, codes, reach)
    order = cheapest_order(list(evidence.options()))
    depths = dict.fromkeys(codes, 0)
    for place, j in enumerate(order):
        relations[j] = evidence.relation(j, {k for k in order[:place] if depths[k] < reach.depth})
        depths[j] = 1 + max((depths[k] for k in relations[j].parents), default=-1)
    left = (i for i in range(len(columns)) if i not in codes)
    return Relations((*order, *left), tuple(relations))


class _Evidence:
    """What a sample of a table's rows says of its columns: bits by themselves and with others known, formulas,
    compositions."""

    def __init__(self, columns: Mapping[int, Parent], codes: Mapping[int, Codes], reach: Reach) -> None:
        """codes: of each column in the sample, without gaps."""
        self._codes, self._reach = codes, reach
        self._plain = plain = {j: bits(chances(found, ())) for j, found in codes.items()}
        self._apart = {j: alone(found, plain[j]) for j, found in codes.items()}
        figures = {
            j: numbers(sample(found, reach.sample)) for j, c in columns.items() if (found := c.numbers) is not None
        }
        self._views: dict[int, list[View]] = {}
        if reach.static:
            self._sieve: Sieve = Static(columns, self._rows, reach.sample)
        else:
            self._views = {j: views_of(found, figures.get(j), plain[j]) for j, found in codes.items()}
            steps = {j: view.symbols for j, views in self._views.items() for view in views if view.of_steps}
            self._sieve = Adaptive(codes, plain, self._apart, steps)
        self._others = nearest(codes)
        self._given = {j: {k: plain[j] - self._sieve.saved(j, (k,)) for k in self._others[j]} for j in codes}
        self._options = {j: list(self._by_values(j)) for j in codes}
        formulas = Formulas(figures)
        self._formulas = {
            j: formulas.of(j, min(self._apart[j], *self._given[j].values()), self._others[j]) for j in formulas.columns
        }
        self._compositions = Compositions(columns)
        self._written = {j: self._compositions.of(j, self._others[j]) for j in self._compositions.columns}

    @property
    def _rows(self) -> int:
        return len(next(iter(self._codes.values())))

    def options(self) -> Iterator[Option]:
        """What all columns may take, and with which others."""
        for j, codes in self._codes.items():
            yield from self._compositions.priced(self._options[j], self._written.get(j, ()), codes)
        for j, formulas in self._formulas.items():
            yield from (Option(j, frozenset(found.expression.parents), found.bits) for found in formulas[:4])

    def _by_values(self, j: int) -> Iterator[Option]:
        """What a column may take: by itself, with one parent, with two of the best six."""
        apart, given = self._apart[j], self._given[j]
        yield Option(j, frozenset(), apart)
        singles = sorted(given, key=lambda k: (given[k], k))
        yield from (Option(j, frozenset({k}), given[k]) for k in singles if given[k] < apart)
        for one, other in combinations(singles[:6], 2):
            price = self._plain[j] - self._sieve.saved(j, (one, other))
            if price < min(given[one], given[other], apart):
                yield Option(j, frozenset({one, other}), price)

    def relation(self, j: int, before: set[int]) -> Relation:
        """What a column is coded with where these come before it."""
        formula = next((f for f in self._formulas.get(j, []) if before.issuperset(f.expression.parents)), None)
        found = self._written.get(j, [])
        written = [one for one in found if before.issuperset(one.composition.parents)]
        if found and not written:
            written = self._compositions.of(j, sorted(before.intersection(self._others[j])))
        if written and written[0].share < EXACT:
            relation = Relation()
        elif self._reach.static:
            relation = _static(before, self._options[j])
        else:
            relation = self._mixed(j, before)
        return _extended(relation, formula, written[0].composition if written else None)

    def _mixed(self, j: int, before: set[int]) -> Relation:
        """Contexts over those before it that tell most."""
        given, reach = self._given[j], self._reach
        near = sorted(before.intersection(given), key=lambda k: given[k])[: 2 * reach.parents]
        beside = np.stack([self._codes[k] for k in near], 1) if near else np.zeros((self._rows, 0), np.uint32)
        return _named(chosen(self._views[j], beside, reach.parents, reach.contexts), near)


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
