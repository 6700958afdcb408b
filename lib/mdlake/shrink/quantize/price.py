"""The price of a bit: the highest at which a measure of the network stays above a floor."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from mdlake.models.batches import Batches, batches_of
from mdlake.models.schemes import Linear
from mdlake.shrink.quantize.rate_distortion import RateOptions, quantize_by_rate
from mdlake.shrink.quantize.rates import adaptive_bits

_FIRST, _FACTOR, _MOST_STEPS = 1e-8, 8.0, 8


@dataclass(frozen=True)
class Priced:
    """A quantised network, its weights and biases as levels and scales, what it measured and how it was made.

    `bits` is the sum over tensors of `rates.adaptive_bits`: about what a coder without contexts needs.
    """

    network: nn.Module
    schemes: dict[str, Linear]
    measured: float
    bits: float
    options: RateOptions


def search_price(
    network: nn.Module,
    batches: Batches,
    curvature: Mapping[str, torch.Tensor],
    measure: Callable[[nn.Module], float],
    floor: float,
    coarsenesses: Sequence[float] = (2.8, 5.6, 8.0),
    halvings: int = 4,
) -> Priced | None:
    """The fewest bits found with `measure` at `floor` or above; None if every price tried falls below it.

    For each coarseness the price is bracketed and then halved between on a logarithmic scale. `measure` is of the
    validation split, higher being better; the network that is passed stays as it is.
    """
    held, best = list(batches_of(batches)), None

    def attempt(options: RateOptions) -> Priced:
        probe = copy.deepcopy(network)
        schemes = quantize_by_rate(probe, held, curvature, options)
        bits = sum(adaptive_bits(scheme.levels) for scheme in schemes.values())
        return Priced(probe, schemes, measure(probe), bits, options)

    for coarseness in coarsenesses:
        for found in _bisected(attempt, coarseness, floor, halvings):
            if found.measured >= floor and (best is None or found.bits < best.bits):
                best = found
    return best


def _bisected(attempt: Callable[[RateOptions], Priced], coarseness: float, floor: float, halvings: int) -> list[Priced]:
    tried: list[Priced] = []

    def reaches(price: float) -> bool:
        tried.append(attempt(RateOptions(price, coarseness)))
        return tried[-1].measured >= floor

    low = high = _FIRST
    direction = _FACTOR if reaches(_FIRST) else 1 / _FACTOR
    for _ in range(_MOST_STEPS):
        low, high = (high, high * direction) if direction > 1 else (low * direction, low)
        if reaches(high if direction > 1 else low) != (direction > 1):
            break
    else:
        return tried
    for _ in range(halvings):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if reaches(middle) else (low, middle)
    return tried
