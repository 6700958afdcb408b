"""Quantising a trained network to the fewest bits for its loss, with data and without training.

As in `rates`, each weight takes the level that makes error and bits least together. Two things come on top.
What rounding a weight costs is made up for by the weights not yet rounded, and by the layers after it, as in
GPTQ (`feedback`). And errors count in units of the loss, by the moments of the inputs and the curvature in
the outputs (`inputs`, `outputs`), so that one price, loss per bit, is right for every layer.

Most weights become zero on the way, without a threshold: zero is what costs the fewest bits.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.kernels.feedback import round_columns
from mdlake.models.batches import Batches, batches_of
from mdlake.models.schemes import Linear
from mdlake.shrink.inputs import Layer, Moments, cross_moments, layers_in_order, layers_of, weight_matrices
from mdlake.shrink.prune.second_order import inverse_factor
from mdlake.shrink.quantize.linear import quantize_linear
from mdlake.shrink.quantize.rates import TOP, count_levels, linear_of, nearest_levels

_DAMPING = 0.01  # of the mean diagonal of the inputs' moments, added to it: data that was not seen may differ
_LEAST_SPREAD = 1e-9  # an input whose variance is less of its square is a constant: its weights go into the bias
_LEAST_WORTH = 0.1  # of the mean over a layer's outputs: those that the data did not use are worth something too
_WIDEST = 2.0  # times the largest weight: errors that were fed back make up weights of that size
_BIAS_BITS = 8


@dataclass(frozen=True)
class RateOptions:
    """`price` is the loss that a bit may cost: 1e-8 says 0.01 nats for a megabit.

    `coarseness` is the distance between levels, 1 that which is best where bits are many. At one or two bits a
    weight and less, 3 to 8 was better on each network measured: fewer levels, at a lower price.
    """

    price: float
    coarseness: float = 5.0

    def __post_init__(self) -> None:
        if not (self.price > 0 and self.coarseness > 0):
            raise InvalidArgumentError("the price of a bit and the coarseness must be positive")


@torch.no_grad()
def quantize_by_rate(
    network: nn.Module,
    batches: Batches,
    curvature: Mapping[str, torch.Tensor],
    options: RateOptions,
) -> dict[str, Linear]:
    """Quantises all Linear and Conv2d layers in place, and their biases to 8 bits; returns both by name.

    `curvature` is from `outputs.output_curvature`, of this network before. The layers are done in order, each with
    the inputs that the layers before it now give: first its weights move so as to give, from these, the outputs
    of the network before, as far as they can. `batches` is gone through once a layer, in both networks.
    """
    reference, held, found = copy.deepcopy(network), list(batches_of(batches)), {}
    targets = layers_of(reference)
    for name, layer in layers_in_order(network, held).items():
        own, crossed = cross_moments(network, reference, held, name)
        weights, second = _target(targets[name], own, crossed)
        worth = _worth(curvature[name]).reshape(len(weights), -1)
        found[name] = _rounded(weights, second, worth, options, tuple(layer.weight.shape))
        layer.weight.copy_(found[name].restore())
        if layer.bias is not None and (bias := targets[name].bias) is not None:
            shift = weight_matrices(targets[name]).double() @ crossed.mean.unsqueeze(2)
            shift -= weight_matrices(layer).double() @ own.mean.unsqueeze(2)
            scheme = quantize_linear(bias + shift.reshape(-1).to(bias), _BIAS_BITS)
            found[name.removesuffix("weight") + "bias"] = scheme
            layer.bias.copy_(scheme.restore())
    return found


def _target(layer: Layer, own: Moments, crossed: Moments) -> tuple[torch.Tensor, torch.Tensor]:
    """The weights that give the most of the layer's outputs before from its inputs now, and these inputs' moments.

    [groups, outputs, inputs] and [groups, inputs, inputs]. About the mean where there is a bias to take the mean.
    """
    weights, second, target = weight_matrices(layer).double(), own.second, crossed.second
    if layer.bias is not None:
        second = own.covariance
        target = crossed.second - crossed.mean.unsqueeze(2) * own.mean.unsqueeze(1)
    spread, size = (matrix.diagonal(dim1=1, dim2=2) for matrix in (second, own.second))
    extra = _DAMPING * torch.maximum(spread.mean(1), _LEAST_SPREAD * size.mean(1)).clamp_min(1e-30)
    damped = second + torch.diag_embed(extra.unsqueeze(1).expand(spread.shape))
    moved = weights + weights @ torch.linalg.solve(damped, target - second, left=False)
    return moved * (spread > _LEAST_SPREAD * size).unsqueeze(1), damped


def _worth(curvature: torch.Tensor) -> torch.Tensor:
    return curvature + _LEAST_WORTH * curvature.mean().clamp_min(1e-30)


def _rounded(
    weights: torch.Tensor, second: torch.Tensor, worth: torch.Tensor, options: RateOptions, shape: tuple[int, ...]
) -> Linear:
    """One layer. Inputs go in the order of how much comes in through them, the most first."""
    scale = _scale(weights, second, worth, options)
    levels = nearest_levels(weights.cpu().numpy() / scale)
    counts = count_levels(levels)
    for matrix, moments, rows, part in zip(weights, second, worth, levels, strict=True):
        order = torch.argsort(moments.diagonal(), descending=True, stable=True)
        factor = inverse_factor(moments[order][:, order], 0.0).cpu().numpy()
        order = order.cpu().numpy()
        left, chosen = np.ascontiguousarray(matrix.cpu().numpy()[:, order]), np.ascontiguousarray(part[:, order])
        scales = np.full(len(left), scale)
        round_columns(left, factor, scales, 0.5 * rows.cpu().numpy(), options.price, counts, chosen)
        part[:, order] = chosen
    return linear_of(levels.reshape(shape), scale)


def _scale(weights: torch.Tensor, second: torch.Tensor, worth: torch.Tensor, options: RateOptions) -> float:
    """The distance of levels, within bounds that the largest weight sets.

    With fine levels h s^2 / 24 is lost a weight, h its curvature; a bit more would divide that by 4. What the last
    bit was worth is the price where s^2 = 12 price / (h ln 2).
    """
    mean = float((worth.mean(1) * second.diagonal(dim1=1, dim2=2).mean(1)).mean())
    fine = math.sqrt(12 * options.price / (math.log(2) * max(mean, 1e-300)))
    largest = max(float(weights.abs().max()), 1e-30) if weights.numel() else 1.0
    return float(np.float32(min(max(options.coarseness * fine, largest / TOP), _WIDEST * largest)))
