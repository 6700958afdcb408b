"""Scores become masks: the weights that score highest stay.

Scores are tensors of the weights' shapes, by parameter name, of any unit: only their order counts. `global`
ranks all tensors together, so that tensors which need their weights keep more; `layer` takes the same share
of each. Vectors (biases) are not prunable: they are few, and each is used by every row.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from mdlake.errors import InvalidArgumentError

Masks = dict[str, torch.Tensor]
Scores = Mapping[str, torch.Tensor]
SCOPES = ("global", "layer")


def top_masks(scores: Scores, sparsity: float, scope: str = "global") -> Masks:
    """bool tensors of the scores' shapes, False for the `sparsity` share that scores lowest.

    Of equal scores those that come first go first, so that exactly the share goes.
    """
    check_sparsity(sparsity)
    if scope not in SCOPES:
        raise InvalidArgumentError(f"scope is one of {SCOPES}, not {scope!r}")
    if scope == "layer" or not scores:
        return {name: _keep(tensor, sparsity) for name, tensor in scores.items()}
    together = _keep(torch.cat([tensor.flatten() for tensor in scores.values()]), sparsity)
    parts = together.split([tensor.numel() for tensor in scores.values()])
    return {name: part.view_as(scores[name]) for name, part in zip(scores, parts, strict=True)}


def semi_structured_masks(scores: Scores, keep: int = 2, of: int = 4) -> Masks:
    """Masks that keep `keep` of every `of` weights that lie side by side on their way into a unit.

    2 of 4 is what sparse tensor cores run at twice the speed (Mishra et al., Accelerating Sparse Deep Neural
    Networks, 2021). Groups run along the input axis; of convolutions, over kernel positions and channels as
    one axis. A last group that is not full keeps `keep` at most.
    """
    if not 0 < keep <= of:
        raise InvalidArgumentError(f"of every {of} weights, 1 to {of} can be kept, not {keep}")
    return {name: _keep_in_groups(tensor, keep, of) for name, tensor in scores.items()}


def prunable(module: nn.Module, biases: bool = False) -> dict[str, torch.Tensor]:
    """The parameters with two dimensions or more, by name; with `biases`, those of such layers too."""
    found = dict(module.named_parameters())
    matrices = {name for name, p in found.items() if p.dim() >= 2}
    chosen = matrices | ({f"{name.removesuffix('weight')}bias" for name in matrices} if biases else set())
    return {name: p.detach() for name, p in found.items() if name in chosen}


@torch.no_grad()
def apply_masks(module: nn.Module, masks: Masks) -> None:
    """Sets what is masked out to zero, in place.

    Raises:
        InvalidArgumentError: a mask is not that of a parameter; nothing was set.
    """
    parameters = dict(module.named_parameters())
    for name, mask in masks.items():
        if name not in parameters or parameters[name].shape != mask.shape:
            there = f"of shape {tuple(parameters[name].shape)}" if name in parameters else "not there"
            raise InvalidArgumentError(
                f"a mask has the shape {tuple(mask.shape)}, the parameter is {there}", tensor=name
            )
    for name, mask in masks.items():
        parameters[name].masked_fill_(~mask.to(parameters[name].device), 0.0)  # a product would leave signs


def nonzero_masks(module: nn.Module) -> Masks:
    """The masks of a network that is pruned already: what is zero stays zero."""
    return {name: weight != 0 for name, weight in prunable(module).items()}


def shares_by_layer(masks: Masks) -> dict[str, float]:
    """The share that goes of each tensor: how a ranking of all layers together spreads a sparsity over them."""
    return {name: float((~mask).double().mean()) for name, mask in masks.items()}


def sparsity(module: nn.Module) -> float:
    """The share of zeros among all parameters."""
    total = sum(parameter.numel() for parameter in module.parameters())
    return 1 - count_nonzero(module) / total if total else 0.0


def count_nonzero(module: nn.Module) -> int:
    return sum(int(torch.count_nonzero(parameter)) for parameter in module.parameters())


def check_sparsity(sparsity: float) -> None:
    if not 0 <= sparsity < 1:
        raise InvalidArgumentError(f"sparsity is a share from 0 to below 1, not {sparsity}")


def _keep(scores: torch.Tensor, sparsity: float) -> torch.Tensor:
    flat = scores.flatten()
    keep = torch.ones_like(flat, dtype=torch.bool)
    keep[torch.argsort(flat, stable=True)[: round(sparsity * flat.numel())]] = False
    return keep.view_as(scores)


def _keep_in_groups(scores: torch.Tensor, keep: int, of: int) -> torch.Tensor:
    rows = scores.reshape(scores.shape[0], -1).float()
    short = -rows.shape[1] % of
    groups = torch.nn.functional.pad(rows, (0, short), value=-torch.inf).view(rows.shape[0], -1, of)
    order = groups.argsort(dim=2, descending=True, stable=True)
    mask = torch.zeros_like(groups, dtype=torch.bool).scatter_(2, order[:, :, :keep], True)
    return mask.view(rows.shape[0], -1)[:, : rows.shape[1]].reshape(scores.shape)
