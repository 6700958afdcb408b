"""Uniform quantisation: round(w / scale) + zero, one scale for a tensor, a channel or a group of weights.

The formula of Jacob et al., Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference (2018). round(w / scale), as part of the literature writes it, is the
symmetric case: no zero point, levels from -(2^(bits-1) - 1) to 2^(bits-1) - 1, and 0 stays exactly 0. The
asymmetric case has all 2^bits levels between the least and the greatest value; 0 is always among them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mdlake.errors import InvalidArgumentError

GRANULARITIES = ("tensor", "channel", "group")
RANGES = ("max", "error")
_CLIPS = np.linspace(1.0, 0.3, 29)


@dataclass(frozen=True)
class UniformOptions:
    """`range`: of all values ("max"), or narrowed to the least squared error ("error"). `group` is the number of
    weights side by side on the input axis that share a scale, where `granularity` is "group"."""

    bits: int = 8
    symmetric: bool = True
    granularity: str = "tensor"
    range: str = "error"
    group: int = 64

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise InvalidArgumentError(f"bits are from 2 to 8, not {self.bits}")
        if self.granularity not in GRANULARITIES or self.range not in RANGES or self.group < 1:
            raise InvalidArgumentError(
                f"granularity is one of {GRANULARITIES}, range one of {RANGES}, and a group has weights; "
                f"not {self.granularity!r}, {self.range!r} and {self.group}"
            )


@dataclass(frozen=True, eq=False)
class Uniform:
    """(levels - zero) * scale, with a scale and a zero per run of `run` weights in row-major order."""

    levels: np.ndarray  # int16, of the tensor's shape
    scale: np.ndarray  # float32 [runs]
    zero: np.ndarray  # int16 [runs]; all 0 where symmetric
    run: int

    def restore(self) -> torch.Tensor:
        """float32, of the tensor's shape."""
        rows = _runs(self.levels.astype(np.float32), self.run)
        values = (rows - self.zero[:, None].astype(np.float32)) * self.scale[:, None]
        return torch.from_numpy(values.reshape(self.levels.shape))


def quantize_uniform(weights: torch.Tensor, options: UniformOptions) -> Uniform:
    """The tensor with as many levels as the options allow."""
    values = weights.detach().cpu().double().numpy()
    if not np.isfinite(values).all():
        raise InvalidArgumentError("weights that are not finite cannot be quantised")
    run = _run(values, options)
    rows = _runs(values, run)
    low, high = np.minimum(rows.min(axis=1, initial=0.0), 0.0), np.maximum(rows.max(axis=1, initial=0.0), 0.0)
    best, kept = np.full(len(rows), np.inf), (np.zeros(rows.shape), np.ones(len(rows)), np.zeros(len(rows)))
    for clip in _CLIPS if options.range == "error" else (1.0,):
        found = _rounded(rows, low * clip, high * clip, options)
        error = np.square((found[0] - found[2][:, None]) * found[1][:, None] - rows).sum(axis=1)
        better = error < best
        best = np.where(better, error, best)
        chosen = (better[:, None], better, better)
        kept = tuple(np.where(*parts) for parts in zip(chosen, found, kept, strict=True))
    levels, scale, zero = kept
    return Uniform(levels.reshape(values.shape).astype(np.int16), scale.astype(np.float32), zero.astype(np.int16), run)


def _rounded(
    rows: np.ndarray, low: np.ndarray, high: np.ndarray, options: UniformOptions
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Levels, scales (as float32 has them) and zeros for values between `low` and `high`, per row."""
    if options.symmetric:
        top = 2 ** (options.bits - 1) - 1
        first, last, wide = -top, top, np.maximum(-low, high) / top
    else:
        first, last, wide = 0, 2**options.bits - 1, (high - low) / (2**options.bits - 1)
    scale = np.where(wide > 0, np.maximum(wide, np.finfo(np.float32).tiny), 1.0).astype(np.float32).astype(np.float64)
    zero = np.zeros(len(rows)) if options.symmetric else np.rint(-low / scale)
    levels = np.clip(np.rint(rows / scale[:, None]) + zero[:, None], first, last)
    return levels, scale, zero


def _run(values: np.ndarray, options: UniformOptions) -> int:
    if options.granularity == "tensor" or values.ndim < 2:
        return max(1, values.size)
    row = max(1, values[0].size) if len(values) else 1
    if options.granularity == "channel":
        return row
    if row % options.group:
        raise InvalidArgumentError(f"rows of {row} weights cannot be cut into groups of {options.group}")
    return options.group


def _runs(values: np.ndarray, run: int) -> np.ndarray:
    return values.reshape(-1, run) if values.size else values.reshape(0, run)
