"""What data can repair after weights were changed, without training: biases and batch statistics.

Bias correction: Nagel, van Baalen, Blankevoort and Welling, Data-Free Quantization through Weight
Equalization and Bias Correction (2019), in its form with data: each layer's mean output becomes again what
it was. Batch statistics taken anew: Sun, Li and Chen, Hybrid 8-bit Floating Point Training and Inference
(2019), and others since.
"""

from __future__ import annotations

import torch
from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.models.batches import Batches, batches_of
from mdlake.shrink.curvature import evaluating
from mdlake.shrink.inputs import cross_moments, layers_in_order, layers_of, weight_matrices


@torch.no_grad()
def correct_biases(network: nn.Module, reference: nn.Module, batches: Batches) -> list[str]:
    """Moves the biases of all Linear and Conv2d layers in place; returns the names of the weights they go with.

    `reference` is the network before its weights changed. Layers are done in order, so each also makes up for
    what is left of the shift in the layers before it; layers without a bias are left as they are.
    """
    held, before, done = list(batches_of(batches)), layers_of(reference), []
    for name, layer in layers_in_order(network, held).items():
        if layer.bias is None:
            continue
        own, crossed = cross_moments(network, reference, held, name)
        expected = weight_matrices(before[name]).double() @ crossed.mean.unsqueeze(2)
        found = weight_matrices(layer).double() @ own.mean.unsqueeze(2)
        start = before[name].bias
        if start is None:
            raise InvalidArgumentError(f"the layer of {name!r} has a bias, but in the reference it has none")
        layer.bias.copy_(start + (expected - found).reshape(-1).to(start))
        done.append(name)
    return done


@torch.no_grad()
def reestimate_statistics(network: nn.Module, batches: Batches) -> int:
    """Takes the running mean and variance of all BatchNorm layers anew, in place; returns how many layers there are.

    They become the averages over the batches, each batch counting the same, as if momentum were 1 / batches.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    with evaluating(network):
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain average
            norm.training = True
        seen = 0
        for batch in batches_of(batches) if norms else ():
            network(*batch.inputs)
            seen += 1
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum, norm.training = momentum, False
    if norms and not seen:
        raise InvalidArgumentError("there are no batches to take statistics from: pass some rows of the training split")
    return len(norms)
