"""Predictions of a series: the experts' work space, and which experts a series deserves."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from mdlake.coding.logarithm import log2
from mdlake.kernels import predicting

Numbers = NDArray[np.int64]
Expert = tuple[int, int, int]
LAG, PLANE, PROPORTION, STEP, GROWTH = range(5)
MAX_EXPERTS = 16
MAX_LAG = 1 << 20
_FARTHEST_LAG = 400


@dataclass(frozen=True)
class Predictor:
    """`corrections`: lags at which the best expert's error is looked up. `phase`: the period of its memory."""

    experts: tuple[Expert, ...]
    corrections: tuple[int, ...] = ()
    phase: int = 1

    def residuals(self, values: Numbers, beside: Numbers) -> Numbers:
        """int64 [n]: the values less what is predicted of them, modulo 2^64. beside: int64 [columns, n]."""
        found = np.zeros(len(values), np.int64)
        self._run(False, values, found, beside)
        return found

    def values(self, residuals: Numbers, beside: Numbers) -> Numbers:
        found = np.zeros(len(residuals), np.int64)
        self._run(True, found, residuals, beside)
        return found

    def _run(self, decoding: bool, values: Numbers, residuals: Numbers, beside: Numbers) -> None:
        count = len(self.experts) + len(self.corrections)
        predicting.run(
            decoding, np.require(values, requirements=["C", "W"]), np.require(residuals, requirements=["C", "W"]),
            np.array(self.experts, np.int64).reshape(-1, 3), np.array(self.corrections, np.int64),
            np.require(beside, requirements=["C", "W"]), np.full((self.phase, count), 0.5), np.full(count, 0.5),
            np.zeros(count), np.zeros(len(values)),
        )  # fmt: skip


def size_of(residuals: np.ndarray) -> float:
    """The mean number of bits that residuals have, their signs with them."""
    return float(log2(2 * np.abs(residuals.astype(np.float64)) + 1).mean()) if len(residuals) else 0.0


def likely_lags(values: Numbers) -> list[int]:
    """Lags at which a series resembles itself, the best first, with their neighbours; 1 is always among them."""
    farthest = min(_FARTHEST_LAG, len(values) // 4)
    sizes = {lag: size_of(values[lag:].astype(np.float64) - values[:-lag]) for lag in range(1, farthest + 1)}
    ranked = sorted(sizes, key=lambda lag: (sizes[lag], lag))
    lags: list[int] = []
    for lag in ranked:  # a multiple of a lag that is as good says nothing new
        if not any(lag % chosen == 0 and chosen > 1 for chosen in lags):
            lags.append(lag)
        if len(lags) == 2:
            break
    extra = [lags[0] + 1, lags[0] // 2 if lags[0] % 2 == 0 else 1, 1] if lags and lags[0] > 1 else [1, 2]
    return list(dict.fromkeys([*lags, *extra]))[:5] if lags else [1]


def predictors(values: Numbers, beside: Numbers) -> tuple[Predictor, Predictor]:
    """Predictors worth trying on a series like this sample: the best single expert, and the best few together."""
    lags = likely_lags(values)
    candidates: list[Expert] = [(LAG, lag, 0) for lag in lags]
    candidates += [(kind, *pair) for pair in combinations_with_replacement(lags, 2) for kind in (PLANE, PROPORTION)]
    candidates += [(kind, lag, j) for j in range(len(beside)) for lag in lags[:2] for kind in (STEP, GROWTH)]
    sizes = {one: size_of(Predictor((one,)).residuals(values, beside)) for one in candidates}
    best = sorted(sizes, key=lambda one: (sizes[one], one))
    together = [
        Predictor(tuple(best[:8]), tuple(sorted(lags)[:4]), phase) for phase in {1, lags[0], max(lags[0] // 2, 1)}
    ]
    together.sort(key=lambda p: (size_of(p.residuals(values, beside)), p.phase))
    return Predictor((best[0],)), together[0]
