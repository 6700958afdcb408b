"""One bit and one and a half: weights that are -1, (0,) 1 times a scale.

Binary: Rastegari et al., XNOR-Net (2016), equation 6: the scale of least squared error is the mean of |w|.
Ternary: Li and Liu, Ternary Weight Networks (2016): weights below 0.7 mean|w| become 0, the scale is the
mean of the rest. Both scales are per tensor, or per index of its first axis ("channel").
"""

from __future__ import annotations

import numpy as np
import torch

from mdlake.errors import InvalidArgumentError
from mdlake.models.schemes import Linear

_THRESHOLD = 0.7


def binarize(weights: torch.Tensor, granularity: str = "channel") -> Linear:
    """sign(w) times the mean of |w|; the sign of 0 is +1, so pruned weights do not stay pruned."""
    rows = _rows(weights, granularity)
    signs = np.where(rows < 0, -1, 1).astype(np.int8)
    scale = np.abs(rows).mean(axis=1) if rows.size else np.zeros(len(rows))
    return Linear(signs.reshape(weights.shape), scale.astype(np.float32), 1)


def ternarize(weights: torch.Tensor, granularity: str = "channel") -> Linear:
    """-1, 0 or 1 times the mean of |w| over the weights that stay."""
    rows = _rows(weights, granularity)
    size = np.abs(rows)
    large = size > _THRESHOLD * size.mean(axis=1, keepdims=True) if rows.size else size > 0
    scale = (size * large).sum(axis=1) / np.maximum(large.sum(axis=1), 1)
    return Linear((np.sign(rows) * large).astype(np.int8).reshape(weights.shape), scale.astype(np.float32), 2)


def _rows(weights: torch.Tensor, granularity: str) -> np.ndarray:
    if granularity not in ("tensor", "channel"):
        raise InvalidArgumentError(f"granularity is 'tensor' or 'channel', not {granularity!r}")
    values = weights.detach().cpu().double().numpy()
    if not np.isfinite(values).all():
        raise InvalidArgumentError("weights that are not finite cannot be quantised")
    channels = granularity == "channel" and values.ndim >= 2
    return values.reshape(values.shape[0] if channels else 1, -1)
