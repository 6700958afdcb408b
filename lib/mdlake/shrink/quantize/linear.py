"""Linear symmetric quantisation, and the search for how few bits a network can do with.

A weight becomes round(w / scale), an integer of `bits` bits; 0 stays 0, so pruned weights stay pruned. The
scale is not simply max|w| / (largest level): clipping a few outliers costs less than coarse steps for all,
so the scale of least squared error over a grid is taken (as in Banner et al., Post-training 4-bit
quantization, 2019, who derive it). Vectors (biases) always keep 8 bits: they are few.

The bits are searched on the validation split: a network is trained to live with so many bits
(`mdlake.shrink.aware`); then one tensor at a time, the largest first, gets fewer, as long as the score stays
within the budget.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from mdlake.errors import InvalidArgumentError
from mdlake.models.schemes import Linear

_CLIPS = np.linspace(0.3, 1.0, 29)
_VECTOR_BITS = 8
_FEWEST_BITS = 2


Weights = Mapping[str, torch.Tensor]
Schemes = dict[str, Linear]


def check_linear(bits: int, granularity: str) -> None:
    """Refuses what `quantize_linear` cannot do; `granularity`: a scale per "tensor", or per index of its first axis
    ("channel").

    Raises:
        InvalidArgumentError: other bits than 2 to 8, or another granularity.
    """
    if not isinstance(bits, int) or not _FEWEST_BITS <= bits <= 8:
        raise InvalidArgumentError(f"bits are from {_FEWEST_BITS} to 8, not {bits!r}")
    if granularity not in ("tensor", "channel"):
        raise InvalidArgumentError(f"granularity is 'tensor' or 'channel', not {granularity!r}")


def quantize_linear(weights: torch.Tensor | np.ndarray, bits: int, granularity: str = "tensor") -> Linear:
    """The tensor as levels from -(2^(bits-1) - 1) to 2^(bits-1) - 1 and float32 scales; raises as `check_linear`."""
    check_linear(bits, granularity)
    values = torch.as_tensor(weights).detach().cpu().numpy().astype(np.float64)
    channels = granularity == "channel" and values.ndim >= 2
    rows = values.reshape(values.shape[0], -1) if channels else values.reshape(1, -1)
    top = 2 ** (bits - 1) - 1
    scale = _best_scales(rows, top)
    levels = np.clip(np.rint(rows / scale[:, None]), -top, top).astype(np.int8)
    return Linear(levels.reshape(values.shape), scale, bits)


def quantize_all(weights: Weights, bits: Mapping[str, int], granularity: str) -> Schemes:
    """Every tensor with its own number of bits."""
    return {name: quantize_linear(tensor, bits[name], granularity) for name, tensor in weights.items()}


@dataclass(frozen=True)
class Quantized:
    """What the search chose, and the score on the validation split with it."""

    schemes: Schemes
    bits: dict[str, int]
    score: float


def search_bits(
    weights: Weights, measure: Callable[[Weights], float], floor: float, bits: int, granularity: str = "tensor"
) -> Quantized:
    """Fewer than `bits` bits where `measure` of the restored weights stays at `floor` or above.

    If not even `bits` bits for all reach the floor, that is what is returned.
    """

    def attempt(chosen: dict[str, int]) -> Quantized:
        schemes = quantize_all(weights, chosen, granularity)
        return Quantized(schemes, chosen, measure({name: s.restore() for name, s in schemes.items()}))

    best = attempt(uniform_bits(weights, bits))
    if best.score < floor:
        return best
    matrices = [name for name, tensor in weights.items() if tensor.dim() >= 2]
    for name in sorted(matrices, key=lambda name: (-weights[name].numel(), name)):
        for fewer in range(bits - 1, _FEWEST_BITS - 1, -1):
            tried = attempt({**best.bits, name: fewer})
            if tried.score < floor:
                break
            best = tried
    return best


def uniform_bits(weights: Weights, bits: int) -> dict[str, int]:
    """So many bits for every matrix; vectors keep theirs."""
    return {name: bits if tensor.dim() >= 2 else _VECTOR_BITS for name, tensor in weights.items()}


def _best_scales(rows: np.ndarray, top: int) -> np.ndarray:
    """float32 [rows]: for each row the scale of least squared error; 1 for a row of zeros.

    Of several rows those that bfloat16 has: they are kept one by one, and half the bytes are as good.
    """
    largest = np.abs(rows).max(axis=1, initial=0.0)
    if not np.isfinite(largest).all():
        raise InvalidArgumentError("weights that are not finite cannot be quantised")
    best = np.full(len(rows), np.inf)
    chosen = np.ones(len(rows), np.float32)
    for clip in _CLIPS:
        scale = np.where(largest > 0, largest * clip / top, 1.0).astype(np.float32)
        scale = np.maximum(short_floats(scale) if len(rows) > 1 else scale, np.finfo(np.float32).tiny)
        error = np.square(rows - np.clip(np.rint(rows / scale[:, None]), -top, top) * scale[:, None]).sum(axis=1)
        better = error < best
        best, chosen = np.where(better, error, best), np.where(better, scale, chosen)
    return chosen


def short_floats(values: np.ndarray) -> np.ndarray:
    """The nearest to float32 values that bfloat16 has."""
    return ((values.view(np.uint32) + np.uint32(1 << 15)) & np.uint32(0xFFFF0000)).view(np.float32)
