"""Levels chosen by what they cost: the loss that an error brings, and the bits that the level takes.

Entropy-constrained quantisation (Chou, Lookabaugh and Gray, 1989), in the way of the neural network coding
standard (Wiedemann et al., DeepCABAC, 2020; Kirchhoffer et al., 2022): a weight takes the nearest level, the
next towards zero, or zero, whichever makes error + price * bits least. Two things come on top. Errors are
fed back to the weights that follow (GPTQ; `feedback`), then all levels are gone through again, each given
all others. And errors are counted in units of the loss, by the moments of the inputs and the curvature in
the outputs (`inputs`, `outputs`), so that one price, loss per bit, is right for every layer.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.kernels.feedback import cheapest_each, improve_rows, round_columns
from mdlake.models.batches import Batch
from mdlake.models.schemes import Linear
from mdlake.shrink.inputs import Layer, cross_moments, layers_of, weight_matrices
from mdlake.shrink.prune.second_order import inverse_factor

_TOP = 127
_PRIOR = 0.5
_DAMPING = 0.01  # of the mean diagonal, added to inputs' moments
_LEAST_SPREAD = 1e-9  # an input whose variance is less of its square is a constant: its weights go into the bias
_OUTPUT_DAMPING = 0.1  # the same for outputs, whose curvature is known less well


@dataclass(frozen=True)
class RateOptions:
    """`price` is the loss that a bit may cost: 1e-7 says ten megabits for one nat. `steps` are tried as multiples
    of the step that theory has for the price; `sweeps` is how often all levels are gone through again."""

    price: float
    steps: tuple[float, ...] = (0.5, 0.71, 1.0, 1.41, 2.0)
    sweeps: int = 4

    def __post_init__(self) -> None:
        if not self.price > 0 or not self.steps or min(self.steps) <= 0 or self.sweeps < 0:
            raise InvalidArgumentError("the price of a bit and the steps must be positive, and sweeps not negative")


@dataclass(frozen=True, eq=False)
class Problem:
    """One layer: weights [groups, outputs, inputs], inputs' moments, outputs' curvature, all float64."""

    weights: np.ndarray
    second: np.ndarray  # [groups, inputs, inputs]
    output: np.ndarray  # [groups, outputs, outputs] of each group

    def cost(self, levels: np.ndarray, scale: float) -> float:
        """By how much the loss grows."""
        lost = self.weights - scale * levels
        return 0.5 * float(np.sum((self.output @ lost) * (lost @ self.second)))

    def best_scale(self, levels: np.ndarray, scale: float) -> float:
        """The scale of least cost for these levels."""
        pulled = self.output @ levels @ self.second
        below = float(np.sum(pulled * levels))
        return float(np.sum(pulled * self.weights)) / below if below > 0 else scale


def adaptive_bits(levels: np.ndarray) -> float:
    """The bits of an adaptive coder of order 0 (Krichevsky and Trofimov), whose counts start at one half.

    The order of the symbols does not matter. The alphabet is all levels up to the largest there is.
    """
    if not levels.size:
        return 0.0
    top = int(np.abs(levels).max())
    counts = np.bincount(levels.reshape(-1).astype(np.int64) + top, minlength=2 * top + 1)
    start = _PRIOR * len(counts)
    nats = math.lgamma(levels.size + start) - math.lgamma(start) + len(counts) * math.lgamma(_PRIOR)
    return (nats - sum(math.lgamma(count + _PRIOR) for count in counts.tolist())) / math.log(2)


def rate_distortion(
    weights: torch.Tensor, scale: float, price: float, importance: torch.Tensor | None = None
) -> Linear:
    """One tensor without data: minimises the sum of importance * (w - q)^2 and of price * bits.

    `importance` is of the tensor's shape, as from `curvature.diagonal_fisher`; 1 everywhere if not given. The
    shares that price the levels are those of the levels chosen, so it is repeated until these stay.
    """
    scale = float(np.float32(scale))
    values = weights.detach().cpu().double().numpy().reshape(-1) / scale
    worth = np.ones(values.size) if importance is None else importance.detach().cpu().double().numpy().reshape(-1)
    levels = _nearest(values)
    counts = np.bincount(levels + _TOP, minlength=2 * _TOP + 1)
    for _ in range(20):
        if not cheapest_each(values, worth * scale**2, price, counts, levels):
            break
    return _linear(levels.reshape(weights.shape), scale)


@torch.no_grad()
def quantize_by_rate(
    network: nn.Module,
    batches: Iterable[Batch],
    curvature: Mapping[str, torch.Tensor],
    options: RateOptions,
) -> dict[str, Linear]:
    """Quantises all Linear and Conv2d layers in place and moves their biases; returns levels and scales.

    `curvature` is from `outputs.output_curvature`, of this network before. The layers are done in order: each
    first makes up, as far as its inputs allow, for what the layers before it have lost.
    """
    reference, held, found = copy.deepcopy(network), list(batches), {}
    for name, layer in layers_of(network).items():
        problem, bias = _problem(network, reference, held, name, curvature[name])
        levels, scale = solve(problem, options)
        found[name] = _linear(levels.reshape(layer.weight.shape), scale)
        layer.weight.copy_(found[name].restore())
        if layer.bias is not None:
            layer.bias.copy_(bias(weight_matrices(layer).double()))
    return found


def solve(problem: Problem, options: RateOptions) -> tuple[np.ndarray, float]:
    """int64 levels [groups, outputs, inputs] and the scale: the best of those that the steps lead to."""
    diagonals = (np.diagonal(m, axis1=1, axis2=2).mean(1) for m in (problem.output, problem.second))
    worth = max(float(np.mean(np.multiply(*diagonals))), 1e-300)
    base = math.sqrt(12 * options.price / (math.log(2) * worth))
    tried = [_attempt(problem, options, max(base * step, _least(problem))) for step in options.steps]
    return min(tried, key=lambda found: problem.cost(*found) + options.price * adaptive_bits(found[0]))


def _attempt(problem: Problem, options: RateOptions, scale: float) -> tuple[np.ndarray, float]:
    levels = _nearest(problem.weights / scale)
    counts = np.bincount(levels.reshape(-1) + _TOP, minlength=2 * _TOP + 1)
    price = 2 * options.price  # the kernels leave out the half of the cost
    for weights, second, output, part in zip(problem.weights, problem.second, problem.output, levels, strict=True):
        order = np.argsort(-np.diagonal(second), kind="stable")
        factor = inverse_factor(torch.from_numpy(second[order][:, order]), 0.0).numpy()
        moved, chosen = np.ascontiguousarray(weights[:, order]), np.ascontiguousarray(part[:, order])
        scales = np.full(len(weights), scale)
        round_columns(moved, factor, scales, np.diagonal(output).copy(), price, counts, chosen)
        part[:, order] = chosen
    for _ in range(options.sweeps):
        scale = float(np.float32(problem.best_scale(levels, scale)))
        changed = 0
        pulls = (problem.weights - scale * levels) @ problem.second
        for group, part in enumerate(levels):
            known = pulls[group], problem.second[group], problem.output[group]
            changed += improve_rows(*known, np.full(len(part), scale), price, counts, part)
        if not changed:
            break
    return levels, float(np.float32(problem.best_scale(levels, scale)))


def _problem(
    network: nn.Module, reference: nn.Module, batches: list[Batch], name: str, curvature: torch.Tensor
) -> tuple[Problem, Callable[[torch.Tensor], torch.Tensor]]:
    """The layer's problem, and the bias that goes best with weights [groups, outputs, inputs]."""
    layer, before = layers_of(network)[name], layers_of(reference)[name]
    own, crossed = cross_moments(network, reference, batches, name)
    weights = weight_matrices(before).double()
    second, target = own.second, crossed.second
    if layer.bias is not None:
        second = own.covariance
        target = crossed.second - crossed.mean.unsqueeze(2) * own.mean.unsqueeze(1)
    size = own.second.diagonal(dim1=1, dim2=2)
    damped = _damped(second, _DAMPING, _LEAST_SPREAD * size.mean(1))
    moved = weights + weights @ torch.linalg.solve(damped, target - second, left=False)
    moved *= (second.diagonal(dim1=1, dim2=2) > _LEAST_SPREAD * size).unsqueeze(1)
    output = _damped(_blocks(curvature, layer), _OUTPUT_DAMPING)

    def bias(chosen: torch.Tensor) -> torch.Tensor:
        assert before.bias is not None
        expected = weights @ crossed.mean.unsqueeze(2) - chosen @ own.mean.unsqueeze(2)
        return before.bias.detach() + expected.reshape(-1).to(before.bias)

    return Problem(moved.cpu().numpy(), damped.cpu().numpy(), output.cpu().numpy()), bias


def _blocks(curvature: torch.Tensor, layer: Layer) -> torch.Tensor:
    """The curvature within each group: [groups, outputs, outputs]."""
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    each = len(curvature) // groups
    return torch.stack([curvature[i : i + each, i : i + each] for i in range(0, len(curvature), each)])


def _damped(matrices: torch.Tensor, damping: float, least: torch.Tensor | float = 0.0) -> torch.Tensor:
    extra = damping * torch.maximum(matrices.diagonal(dim1=1, dim2=2).mean(1), torch.as_tensor(least)).clamp_min(1e-30)
    return matrices + extra[:, None, None] * torch.eye(matrices.shape[1], dtype=matrices.dtype)


def _nearest(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), -_TOP, _TOP).astype(np.int64)


def _least(problem: Problem) -> float:
    """The finest step whose levels reach the largest weight."""
    return max(float(np.abs(problem.weights).max(initial=0.0)) / _TOP, 1e-30)


def _linear(levels: np.ndarray, scale: float) -> Linear:
    top = int(np.abs(levels).max(initial=1))
    return Linear(levels.astype(np.int8), np.array([scale], np.float32), max(2, top.bit_length() + 1))
