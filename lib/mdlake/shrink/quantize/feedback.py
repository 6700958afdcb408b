"""Rounding with error feedback: what rounding a weight costs is made up for by the weights not yet rounded.

Frantar, Ashkboos, Hoefler and Alistarh, GPTQ (2023): optimal brain surgeon, with rounding in place of
pruning. The layers are done in order, each with the inputs that the rounded layers before it give.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from mdlake.kernels.feedback import round_columns
from mdlake.models.batches import Batches, batches_of
from mdlake.models.schemes import Linear
from mdlake.shrink.inputs import input_moments, layers_in_order, weight_matrices
from mdlake.shrink.prune.second_order import inverse_factor
from mdlake.shrink.quantize.linear import quantize_linear


@torch.no_grad()
def quantize_with_feedback(
    network: nn.Module, batches: Batches, bits: int, granularity: str = "channel"
) -> dict[str, Linear]:
    """Rounds the weights of all Linear and Conv2d layers in place; returns them as levels and scales.

    `batches` is gone through once a layer; a few hundred rows do.
    """
    held, found = list(batches_of(batches)), {}
    for name, layer in layers_in_order(network, held).items():
        second = input_moments(network, held, [name])[name].second
        found[name] = round_layer(weight_matrices(layer), second, bits, granularity, tuple(layer.weight.shape))
        layer.weight.copy_(found[name].restore())
    return found


def round_layer(
    matrices: torch.Tensor, second: torch.Tensor, bits: int, granularity: str, shape: tuple[int, ...]
) -> Linear:
    """The weights [groups, outputs, inputs] of one layer, given its inputs' second moments; `shape` is theirs in it.

    Columns go in the order of how much comes in through them, the most first.
    """
    plain = quantize_linear(matrices.reshape(shape), bits, granularity)
    scales = np.broadcast_to(plain.scale, (shape[0],)).astype(np.float64).reshape(len(matrices), -1)
    levels = np.empty(matrices.shape, np.int64)
    counts = np.zeros(2**bits - 1, np.int64)
    for group, (matrix, moments) in enumerate(zip(matrices, second, strict=True)):
        order = torch.argsort(moments.diagonal(), descending=True, stable=True)
        factor = inverse_factor(moments[order][:, order]).cpu().numpy()
        weights = np.ascontiguousarray(matrix[:, order].cpu().numpy().astype(np.float64))
        rounded = np.zeros(weights.shape, np.int64)
        counts[2 ** (bits - 1) - 1] = rounded.size
        round_columns(weights, factor, scales[group], np.ones(len(weights)), 0.0, counts, rounded)
        levels[group][:, order.cpu().numpy()] = rounded
        counts[:] = 0
    return Linear(levels.astype(np.int8).reshape(shape), plain.scale, bits)
