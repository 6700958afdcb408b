"""Optimal brain surgeon by layer: what is left makes up for what goes.

Hassibi and Stork, Second Order Derivatives for Network Pruning (1993), applied to each layer's own squared
error, column by column with one inverse Hessian for all rows, as in Frantar and Alistarh, SparseGPT (2023).
When weight j of a row goes, the weights after it move by -w_j / [H^-1]_jj times row j of H^-1, where H is
the Hessian over the weights that are still free; w_j^2 / [H^-1]_jj is what that costs. The Cholesky factor
of H^-1 holds all these rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.models.batches import Batches, batches_of
from mdlake.shrink.inputs import input_moments, layers_in_order, weight_matrices
from mdlake.shrink.prune.masks import Masks, check_sparsity, semi_structured_masks, top_masks

_DAMPING = 0.01  # of the mean of H's diagonal, added to it: directions without data cost something too
_BLOCK = 128  # so many columns are chosen together


@torch.no_grad()
def prune_by_surgeon(
    network: nn.Module,
    batches: Batches,
    sparsity: float | Mapping[str, float],
    pattern: tuple[int, int] | None = None,
) -> Masks:
    """Prunes and corrects the weights of all Linear and Conv2d layers in place; returns the masks.

    `sparsity` is one share for every layer, or a share by weight name, as `masks.shares_by_layer` has them of a
    ranking over all layers, which keeps far more accuracy (layers not named are left alone). With a `pattern` as
    (2, 4) two of every four stay, whatever the share. Layers are done one after the other, each
    with the inputs that the pruned layers before it give, so `batches` is gone through once a layer.
    """
    held = list(batches_of(batches))
    layers = layers_in_order(network, held)
    shares = sparsity if isinstance(sparsity, Mapping) else dict.fromkeys(layers, sparsity)
    if unknown := sorted(set(shares) - set(layers)):
        raise InvalidArgumentError(f"no Linear or Conv2d that the batches reach has these weights: {unknown}")
    masks = {}
    for name in (name for name in layers if name in shares):
        moments = input_moments(network, held, [name])[name]
        matrices = weight_matrices(layers[name])
        pruned = [surgeon(*pair, shares[name], pattern) for pair in zip(matrices, moments.second, strict=True)]
        weight = layers[name].weight
        weight.copy_(torch.stack([matrix for matrix, _ in pruned]).view_as(weight))
        masks[name] = torch.stack([mask for _, mask in pruned]).view_as(weight)
    return masks


def surgeon(
    weights: torch.Tensor, second: torch.Tensor, sparsity: float, pattern: tuple[int, int] | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """One matrix [outputs, inputs], given the second moments of its inputs: the pruned weights and the mask."""
    check_sparsity(sparsity)
    factor = inverse_factor(second)
    diagonal, of = factor.diagonal(), pattern[1] if pattern else _BLOCK
    gone = 0

    def chosen(weights: torch.Tensor, start: int) -> torch.Tensor:
        """The mask of the columns from `start` on, of which the caller takes as many as it asked for."""
        nonlocal gone
        scores = (weights[:, start:] / diagonal[start:]).square()
        if pattern:
            return semi_structured_masks({"": scores[:, :of]}, *pattern)[""]
        left = min(max(round(sparsity * weights.numel()) - gone, 0) / scores.numel(), 1 - 0.5 / scores.numel())
        mask = top_masks({"": scores}, left)[""][:, :of]
        gone += int((~mask).sum())
        return mask

    return _swept(weights.to(factor), factor, chosen, of, weights.dtype)


def inverse_factor(second: torch.Tensor, damping: float = _DAMPING) -> torch.Tensor:
    """The upper Cholesky factor U of H^-1 = U^T U, float64, of the damped second moments.

    Row j of U over U_jj is row j of the inverse of H restricted to j and what comes after; U_jj^2 is its
    diagonal. Where inputs hardly vary, as behind a layer that was rounded to nothing, H is noise and no such factor
    exists: the damping grows until it does.

    Raises:
        InvalidArgumentError: what comes into the layer is not finite.
    """
    matrix = second.double()
    if not bool(matrix.isfinite().all()):
        raise InvalidArgumentError("what comes into the layer is not finite: look for extreme values before it")
    extra = damping * matrix.diagonal().mean().clamp_min(1e-30)
    least = torch.finfo(matrix.dtype).eps * len(matrix) * matrix.abs().max().clamp_min(1e-30)
    while True:
        damped = matrix + extra * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
        lower, failed = torch.linalg.cholesky_ex(damped)
        if not failed:
            upper, failed = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
            if not failed:
                return upper
        extra = torch.maximum(10 * extra, least)


def _swept(
    weights: torch.Tensor,
    factor: torch.Tensor,
    chosen: Callable[[torch.Tensor, int], torch.Tensor],
    choose: int,
    dtype: torch.dtype,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Goes through the columns; every `choose` columns the next are chosen, when all errors so far have reached them.

    Within a block errors go to its own columns at once, to those after it when it is done.
    """
    weights, masks = weights.clone(), torch.ones_like(weights, dtype=torch.bool)
    size = max(1, _BLOCK // choose) * choose
    for start in range(0, weights.shape[1], size):
        stop = min(start + size, weights.shape[1])
        errors = torch.zeros_like(weights[:, start:stop])
        for j in range(start, stop):
            if (j - start) % choose == 0:
                masks[:, j : j + choose] = chosen(weights, j)
            errors[:, j - start] = weights[:, j] * ~masks[:, j] / factor[j, j]
            weights[:, j:stop] -= errors[:, j - start : j - start + 1] * factor[j, j:stop]
            weights[:, j] *= masks[:, j]
        weights[:, stop:] -= errors @ factor[start:stop, stop:]
    return weights.to(dtype), masks
