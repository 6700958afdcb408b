"""Magnitude pruning: the weights nearest to zero become zero.

Han, Pool, Tran and Dally, Learning both Weights and Connections (2015). `global` ranks the weights of all
tensors together, so that tensors which need their weights keep more; `layer` takes the same share of each.
A fixed threshold, as part of the literature has it, is this with the threshold that the share implies.
Vectors (biases) are left alone: they are few, and each is used by every row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from mdlake.errors import InvalidArgumentError

Masks = dict[str, torch.Tensor]
_SCOPES = ("global", "layer")


@dataclass(frozen=True)
class PruneOptions:
    """`sparsity` is the share of the weights that become zero; `scope` is "global" or "layer"."""

    sparsity: float = 0.5
    scope: str = "global"

    def __post_init__(self) -> None:
        if not 0 <= self.sparsity < 1:
            raise InvalidArgumentError(f"sparsity is a share from 0 to below 1, not {self.sparsity}")
        if self.scope not in _SCOPES:
            raise InvalidArgumentError(f"scope is one of {_SCOPES}, not {self.scope!r}")


def magnitude_masks(weights: Mapping[str, torch.Tensor], options: PruneOptions) -> Masks:
    """Which weights stay, as bool tensors of the weights' shapes."""
    if options.scope == "layer":
        return {name: _keep(tensor.abs(), options.sparsity) for name, tensor in weights.items()}
    if not weights:
        return {}
    together = _keep(torch.cat([tensor.abs().flatten() for tensor in weights.values()]), options.sparsity)
    parts = together.split([tensor.numel() for tensor in weights.values()])
    return {name: part.view_as(weights[name]) for name, part in zip(weights, parts, strict=True)}


def prunable(module: nn.Module) -> dict[str, torch.Tensor]:
    """The parameters with two dimensions or more, by name."""
    return {name: p.detach() for name, p in module.named_parameters() if p.dim() >= 2}


@torch.no_grad()
def apply_masks(module: nn.Module, masks: Masks) -> None:
    """Sets what is masked out to zero, in place."""
    parameters = dict(module.named_parameters())
    for name, mask in masks.items():
        parameters[name].mul_(mask.to(parameters[name].device))


def sparsity(module: nn.Module) -> float:
    """The share of zeros among all parameters."""
    total = sum(parameter.numel() for parameter in module.parameters())
    return 1 - count_nonzero(module) / total if total else 0.0


def count_nonzero(module: nn.Module) -> int:
    return sum(int(torch.count_nonzero(parameter)) for parameter in module.parameters())


def _keep(magnitudes: torch.Tensor, sparsity: float) -> torch.Tensor:
    """True for all but the `sparsity` share of smallest; of equals, those that come first go first."""
    flat = magnitudes.flatten()
    gone = round(sparsity * flat.numel())
    keep = torch.ones_like(flat, dtype=torch.bool)
    keep[torch.argsort(flat, stable=True)[:gone]] = False
    return keep.view_as(magnitudes)
