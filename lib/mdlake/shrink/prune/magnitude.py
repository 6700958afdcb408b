"""Magnitude pruning: the weights nearest to zero become zero.

Han, Pool, Tran and Dally, Learning both Weights and Connections (2015). LAMP is from Lee, Park, Mo, Ahn and
Shin, Layer-adaptive Sparsity for the Magnitude-based Pruning (2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from mdlake.errors import InvalidArgumentError
from mdlake.shrink.prune.masks import SCOPES, Masks, Scores, check_sparsity, top_masks


@dataclass(frozen=True)
class PruneOptions:
    """`sparsity` is the share of the weights that become zero; `scope` is "global" or "layer"."""

    sparsity: float = 0.5
    scope: str = "global"

    def __post_init__(self) -> None:
        check_sparsity(self.sparsity)
        if self.scope not in SCOPES:
            raise InvalidArgumentError(f"scope is one of {SCOPES}, not {self.scope!r}")


def magnitude_masks(weights: Mapping[str, torch.Tensor], options: PruneOptions) -> Masks:
    """Which weights stay, as bool tensors of the weights' shapes."""
    return top_masks(magnitude_scores(weights), options.sparsity, options.scope)


def magnitude_scores(weights: Mapping[str, torch.Tensor]) -> Scores:
    """|w|."""
    return {name: tensor.abs() for name, tensor in weights.items()}


def lamp_scores(weights: Mapping[str, torch.Tensor]) -> Scores:
    """w^2 over the sum of the squares of all weights of the tensor that are no smaller (LAMP, equation 1).

    Ranked over all layers, each layer gets a share of its own, and none loses its last weight: the largest
    weight of every tensor scores 1.
    """
    return {name: _lamp(tensor) for name, tensor in weights.items()}


def threshold_masks(weights: Mapping[str, torch.Tensor], threshold: float) -> Masks:
    """w <- 0 where |w| < t: pruning as part of the literature writes it, with t set by hand.

    It is magnitude pruning with the share that t implies; the share is what can be compared between networks.
    """
    if not threshold >= 0:
        raise InvalidArgumentError(f"a threshold is a magnitude, 0 or more, not {threshold}")
    return {name: tensor.abs() >= threshold for name, tensor in weights.items()}


def _lamp(weights: torch.Tensor) -> torch.Tensor:
    squares, order = weights.detach().double().square().flatten().sort(stable=True)
    no_smaller = squares.flip(0).cumsum(0).flip(0).clamp_min(torch.finfo(torch.float64).tiny)
    scores = torch.empty_like(squares)
    scores[order] = squares / no_smaller
    return scores.view_as(weights)
