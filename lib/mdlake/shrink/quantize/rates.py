"""Levels of least error and bits, for one tensor and without data.

Entropy-constrained quantisation (Chou, Lookabaugh and Gray, 1989), in the way of the neural network coding
standard (Wiedemann et al., DeepCABAC, 2020; Kirchhoffer et al., 2022): a weight takes the nearest level, the
next towards zero, or zero, whichever makes importance * error^2 + price * bits least.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from mdlake.errors import InvalidArgumentError
from mdlake.kernels.feedback import cheapest_each
from mdlake.models.schemes import Linear

TOP = 127  # the largest level
_PRIOR = 0.5
_ROUNDS = 20


def rate_distortion(
    weights: torch.Tensor, scale: float, price: float, importance: torch.Tensor | None = None
) -> Linear:
    """Minimises the sum of importance * (w - q)^2 and of price * bits, q a multiple of `scale`.

    `importance` is of the tensor's shape, as from `curvature.diagonal_fisher`; 1 everywhere if not given. The
    shares that price the levels are those of the levels chosen, so it is repeated until these stay.
    """
    if not (scale > 0 and price >= 0):
        raise InvalidArgumentError(f"the scale must be positive and the price not negative, not {scale} and {price}")
    scale = float(np.float32(scale))
    values = weights.detach().cpu().double().numpy().reshape(-1) / scale
    if not np.isfinite(values).all():
        raise InvalidArgumentError("weights that are not finite cannot be quantised")
    worth = np.ones(values.size) if importance is None else importance.detach().cpu().double().numpy().reshape(-1)
    levels = nearest_levels(values)
    counts = count_levels(levels)
    for _ in range(_ROUNDS):
        if not cheapest_each(values, worth * scale**2, price, counts, levels):
            break
    return linear_of(levels.reshape(weights.shape), scale)


def adaptive_bits(levels: np.ndarray) -> float:
    """The bits of an adaptive coder of order 0 (Krichevsky and Trofimov), whose counts start at one half.

    The order of the symbols does not matter. The alphabet is all levels up to the largest there is.
    """
    if not levels.size:
        return 0.0
    top = int(np.abs(levels.astype(np.int64)).max())
    counts = np.bincount(levels.reshape(-1).astype(np.int64) + top, minlength=2 * top + 1)
    start = _PRIOR * len(counts)
    nats = math.lgamma(levels.size + start) - math.lgamma(start) + len(counts) * math.lgamma(_PRIOR)
    return (nats - sum(math.lgamma(count + _PRIOR) for count in counts.tolist())) / math.log(2)


def nearest_levels(values: np.ndarray) -> np.ndarray:
    """int64, of the shape of `values`, which are in units of the scale."""
    return np.clip(np.rint(values), -TOP, TOP).astype(np.int64)


def count_levels(levels: np.ndarray) -> np.ndarray:
    """int64 [2 TOP + 1]: how often each level occurs, 0 in the middle."""
    return np.bincount(levels.reshape(-1) + TOP, minlength=2 * TOP + 1)


def linear_of(levels: np.ndarray, scale: float) -> Linear:
    """The scheme with as many bits as the levels need."""
    top = int(np.abs(levels).max(initial=1))
    return Linear(levels.astype(np.int8), np.array([scale], np.float32), max(2, top.bit_length() + 1))
