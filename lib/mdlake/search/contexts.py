"""Contexts of a column that is mixed: which columns beside it tell of its values or, of a series, of its steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mdlake.coding.mixing import PREVIOUS, Context
from mdlake.coding.predicting import likely_lags
from mdlake.coding.prequential import bits, chances, coarse
from mdlake.encodings.known import Codes, Numbers
from mdlake.search.formulas import bits_of_numbers

PARTS = 128
"""Parts that the values of a column are put into."""
ENOUGH = 0.005
"""A context is kept if it saves this share of what a column takes, or more."""
CLOSE = 1.1
"""Contexts of a view that takes no more than so many times as much as the first are of use too."""
LESS = 0.9
"""The steps of a series take no more than this share of what its values take."""


@dataclass(frozen=True, eq=False)
class View:
    """What contexts are asked to tell of a column: uint32 [rows], the part that its value is in, or how wide its step
    is. The rest, which no context tells, takes `beyond` bits."""

    symbols: Codes
    beyond: float
    of_steps: bool = False
    never_again: bool = False


def views_of(codes: Codes, figures: Numbers | None, plain: float) -> list[View]:
    """The ways to see a column: by its values unless these hardly come again, by its steps if these take less.

    Args:
        codes: of the values; plain: the bits that these take by themselves. figures: the numbers that they are.
    """
    if figures is not None and int(codes.max()) >= len(codes) // 4:
        return [_of_steps(_steps(figures, likely_lags(figures)[0]), never_again=True)]
    counts = np.bincount(codes)
    parts = coarse(counts, PARTS)[codes] if len(counts) > PARTS else codes
    views = [View(parts, plain - bits(chances(parts, ())))]
    if figures is not None and bits_of_numbers(steps := _steps(figures, 1)) < LESS * plain:
        views.append(_of_steps(steps))
    return views


def _steps(figures: Numbers, lag: int) -> Numbers:
    return np.diff(figures, prepend=figures[:1]) if lag == 1 else figures - np.roll(figures, lag)


def _of_steps(steps: Numbers, never_again: bool = False) -> View:
    digits = np.frexp(np.abs(steps.astype(np.float64)))[1]
    symbols = np.unique(np.maximum(2 * digits + (steps < 0), 0), return_inverse=True)[1].astype(np.uint32)
    return View(symbols, float(np.maximum(digits - 1, 0).sum()), True, never_again)


def chosen(views: Sequence[View], parents: Codes, most_parents: int, most: int) -> list[Context]:
    """Contexts over columns beside, uint32 [rows, columns], that complement each other: those of the first view and,
    unless it takes far more, of the other."""
    found = [_chosen(view, parents, most_parents, most) for view in views]
    together: list[Context] = []
    for cost, contexts in found:
        for context in contexts if cost <= CLOSE * found[0][0] else ():
            used = {source for one in (*together, context) for source, _ in one if source >= PREVIOUS}
            if context not in together and len(together) < most and len(used) <= most_parents:
                together.append(context)
    return together


def _chosen(view: View, parents: Codes, most_parents: int, most: int) -> tuple[float, list[Context]]:
    """The bits that a column takes so, and the contexts, best first."""
    tried: dict[Context, NDArray[np.float32]] = {}
    count = parents.shape[1]

    def measure(context: Context) -> float:
        if context not in tried:
            tried[context] = chances(view.symbols, context, parents)
        return bits(tried[context])

    singles = {context: measure(context) for context in (((PREVIOUS + m, 0),) for m in range(count))}
    level = sorted(singles, key=lambda c: singles[c])
    for _ in range(2):
        wider = {tuple(sorted({*a, *b})) for a in level[:5] for b in [*singles, ((0, 0),)]} - set(tried)
        costs = {context: measure(context) for context in sorted(wider)}
        level = sorted(costs, key=lambda c: costs[c])[:5]
    found, cost = _together(view, tried, most_parents, most)
    if view.never_again:  # what a prediction leaves may depend on columns that tell nothing of the values
        used = {source for context in found for source, _ in context}
        others = [((PREVIOUS + m, 0),) for m in range(count) if PREVIOUS + m not in used]
        found += others[: most - len(found)]
    return cost + view.beyond, found


def _together(
    view: View, tried: dict[Context, NDArray[np.float32]], most_parents: int, most: int
) -> tuple[list[Context], float]:
    """The contexts that make the average of all predictions best, one after the other, and the bits it then takes."""
    found: list[Context] = []
    together = (chances(view.symbols, ()) + chances(view.symbols, ((0, 0),))) / 2
    cost = bits(together)
    while len(found) < most:
        gains = {}
        for context, chance in tried.items():
            used = {s for c in (*found, context) for s, _ in c if s >= PREVIOUS}
            if context not in found and len(used) <= most_parents:
                gains[context] = cost - bits((together * (len(found) + 1) + chance) / (len(found) + 2))
        best = max(gains, key=lambda c: gains[c], default=None)
        if best is None or gains[best] < ENOUGH * cost + 64:
            break
        together = (together * (len(found) + 1) + tried[best]) / (len(found) + 2)
        cost -= gains[best]
        found.append(best)
    return found, cost
