"""How much a unit matters: scores from weights, batch norms or gradients.

Norms of filters: Li, Kadav, Durdanovic, Samet and Graf, Pruning Filters for Efficient ConvNets (2017).
Scales of batch norms: Liu et al., Learning Efficient Convolutional Networks through Network Slimming (2017).
Taylor: Molchanov, Mallya, Tyree, Frosio and Kautz, Importance Estimation for Neural Network Pruning (2019).
A unit's score is the sum over all layers that write it (Fang et al., DepGraph, 2023).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.models.batches import Batches
from mdlake.shrink.curvature import RowsLoss, diagonal_fisher, mean_gradients
from mdlake.shrink.inputs import Layer
from mdlake.shrink.structured.channels import Slot, Units


def norm_scores(network: nn.Module, units: Units, order: int = 2) -> np.ndarray:
    """float64 [units]: the L1 or L2 norms of filters, each over the mean of its layer, so that layers compare."""
    if order not in (1, 2):
        raise InvalidArgumentError(f"the norm is of order 1 or 2, not {order}")
    scores = np.zeros(units.count)
    for slot, weight in _written_weights(network, units):
        norms = torch.linalg.vector_norm(weight.flatten(1).double(), order, dim=1).cpu().numpy()
        _add(scores, units.numbers[slot], norms / max(float(norms.mean()), 1e-30))
    return scores


def scale_scores(network: nn.Module, units: Units) -> np.ndarray:
    """float64 [units]: |scale| of the batch norms on a unit; infinite for units that have none."""
    scores, found = np.zeros(units.count), np.zeros(units.count, bool)
    for slot, numbers in units.written().items():
        module = network.get_submodule(slot.module)
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.weight is not None:
            _add(scores, numbers, module.weight.detach().abs().double().cpu().numpy())
            found[numbers[numbers >= 0]] = True
    return np.where(found, scores, np.inf)


def taylor_scores(network: nn.Module, units: Units, batches: Batches, loss: RowsLoss) -> np.ndarray:
    """float64 [units]: the square of the sum of w dL/dw over a unit's filters: what the loss changes by, squared."""
    gradients = mean_gradients(network, batches, loss)
    sums = np.zeros(units.count)
    for slot, weight in _written_weights(network, units):
        products = (weight * gradients[f"{slot.module}.weight"]).flatten(1).sum(1)
        _add(sums, units.numbers[slot], products.double().cpu().numpy())
    return np.square(sums)


def fisher_scores(network: nn.Module, units: Units, batches: Batches, loss: RowsLoss) -> np.ndarray:
    """float64 [units]: the sum of w^2 h / 2 over a unit's filters, h the diagonal of the empirical Fisher matrix."""
    fisher = diagonal_fisher(network, batches, loss)
    scores = np.zeros(units.count)
    for slot, weight in _written_weights(network, units):
        damage = (weight.square() * fisher[f"{slot.module}.weight"] / 2).flatten(1).sum(1)
        _add(scores, units.numbers[slot], damage.double().cpu().numpy())
    return scores


def _written_weights(network: nn.Module, units: Units) -> Iterable[tuple[Slot, torch.Tensor]]:
    for slot in units.written():
        module = network.get_submodule(slot.module)
        if isinstance(module, Layer):
            yield slot, module.weight.detach()


def _add(scores: np.ndarray, numbers: np.ndarray, values: np.ndarray) -> None:
    free = numbers >= 0
    np.add.at(scores, numbers[free], values[free])
