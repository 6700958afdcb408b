"""Pruning by what the loss loses: scores from gradients over batches of data.

|w dL/dw| is the first-order estimate of what the loss changes by when w goes: SNIP before training (Lee,
Ajanthan and Torr, 2019), Taylor pruning after it (Molchanov et al., 2019). A converged network has gradients
near 0, so there the second-order estimate w^2 h / 2 says more: optimal brain damage (LeCun, Denker and
Solla, 1990), with h the diagonal of the empirical Fisher matrix.
"""

from __future__ import annotations

import torch
from torch import nn

from mdlake.models.batches import Batches
from mdlake.shrink.curvature import RowsLoss, diagonal_fisher, mean_gradients
from mdlake.shrink.prune.masks import Scores, prunable


@torch.enable_grad()
def sensitivity_scores(network: nn.Module, batches: Batches, loss: RowsLoss) -> Scores:
    """|w dL/dw| for all prunable weights, in units of the loss."""
    gradients = mean_gradients(network, batches, loss)
    return {name: (weight * gradients[name]).abs() for name, weight in prunable(network).items()}


def damage_scores(network: nn.Module, batches: Batches, loss: RowsLoss) -> Scores:
    """w^2 h / 2 for all prunable weights, in units of the loss: by how much it grows when only w goes."""
    fisher = diagonal_fisher(network, batches, loss)
    return {name: weight.square() * fisher[name] / 2 for name, weight in prunable(network).items()}
