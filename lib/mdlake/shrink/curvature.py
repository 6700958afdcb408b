"""How the loss answers to each weight: gradients, and their squares, over batches of data.

The mean square of the gradients of single rows is the diagonal of the empirical Fisher matrix, which stands
in for that of the Hessian (LeCun, Denker and Solla, Optimal Brain Damage, 1990, have the latter; Theis et
al., Faster gaze prediction with dense networks and Fisher pruning, 2018, the former).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from mdlake.errors import InvalidArgumentError
from mdlake.models.batches import Batches, batches_of

_ROWS, _HELD = 64, 1 << 26  # rows at once, and numbers in their gradients

RowsLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Logits and labels of some rows -> their mean loss, a scalar."""


@contextmanager
def evaluating(network: nn.Module) -> Iterator[nn.Module]:
    """The network in eval mode for as long as the block runs: no dropout, batch statistics untouched."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield network
    finally:
        for module in training:
            module.training = True


def mean_gradients(network: nn.Module, batches: Batches, loss: RowsLoss) -> dict[str, torch.Tensor]:
    """dL/dw of the mean loss over all rows, by parameter name."""
    parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}
    totals, rows = {name: torch.zeros_like(p) for name, p in parameters.items()}, 0
    with evaluating(network):
        for batch in batches_of(batches):
            value = loss(network(*batch.inputs), batch.labels)
            found = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
            for name, gradient in zip(parameters, found, strict=True):
                if gradient is not None:
                    totals[name] += gradient * len(batch.labels)
            rows += len(batch.labels)
    return {name: total / _counted(rows) for name, total in totals.items()}


def diagonal_fisher(network: nn.Module, batches: Batches, loss: RowsLoss) -> dict[str, torch.Tensor]:
    """The mean over rows of (dL/dw)^2, by parameter name: a stand-in for the diagonal of the Hessian.

    Gradients of single rows are held for a few rows at once: at most 256 MB, or one row's if that is more.
    """
    parameters = {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
    buffers = dict(network.named_buffers())

    def row_loss(weights: dict[str, torch.Tensor], label: torch.Tensor, *inputs: torch.Tensor) -> torch.Tensor:
        logits = functional_call(network, (weights, buffers), tuple(tensor.unsqueeze(0) for tensor in inputs))
        return loss(logits, label.unsqueeze(0))

    totals, rows = {name: torch.zeros_like(p) for name, p in parameters.items()}, 0
    at_once = max(1, min(_ROWS, _HELD // max(1, sum(p.numel() for p in parameters.values()))))
    with evaluating(network):
        for batch in batches_of(batches):
            axes = (None, 0, *[0] * len(batch.inputs))
            for part in batch.parts(max(1, -(-len(batch.labels) // at_once))):
                found = vmap(grad(row_loss), axes)(parameters, part.labels, *part.inputs)
                for name, gradient in found.items():
                    totals[name] += gradient.square_().sum(0)
            rows += len(batch.labels)
    return {name: total / _counted(rows) for name, total in totals.items()}


def _counted(rows: int) -> int:
    if not rows:
        raise InvalidArgumentError("there are no batches to measure on: pass some rows of the training split")
    return rows
