"""Batch normalisation without its statistics: what it counted while training goes into what was learnt.

In evaluation it multiplies each channel by a number and adds one. The number goes into the layer before it, whose
levels stay as they are where each of its channels has a scale; the other into the norm's bias. What is left beside it,
a weight of 1, a mean of 0, a variance of 1, takes no bytes. Jacob et al., Quantization and Training of Neural Networks
for Efficient Integer-Arithmetic-Only Inference (2018), section 3.2. Such a network is to be used, not to be trained on:
in training a norm counts anew.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import fx, nn
from torch.fx.proxy import TraceError

from mdlake.models.schemes import Kept, Linear
from mdlake.shrink.inputs import Layer
from mdlake.shrink.quantize.linear import quantize_linear, short_floats

_Norm = nn.BatchNorm1d | nn.BatchNorm2d


def fold_norms(network: nn.Module, schemes: Mapping[str, Kept]) -> tuple[nn.Module, dict[str, Kept]]:
    """A copy of the network and of how its tensors are kept, in which batch norms have no means of their own.

    Nor have they variances, where a layer without a bias goes right before them whose weights are floats, or integers
    with a scale for each channel; elsewhere 16 bits of each are left. In evaluation it computes what the network does
    with its tensors so kept, but for rounding: biases keep as many bits as they had. Norms that take values from a
    codebook stay as they are, as do those without weights or without statistics.
    """
    folded, kept = copy.deepcopy(network), dict(schemes)
    before = _layers_before(folded)
    for name, norm in folded.named_modules():
        if not isinstance(norm, _Norm) or not norm.affine or norm.running_mean is None:
            continue
        given = [kept.get(_of(name, part)) for part in ("weight", "bias")]
        if all(scheme is None or isinstance(scheme, Linear) for scheme in given):
            _fold(norm, name, kept, before.get(name))
    return folded, kept


@torch.no_grad()
def _fold(norm: _Norm, name: str, kept: dict[str, Kept], before: tuple[str, Layer] | None) -> None:
    values = norm.state_dict()
    for part in ("weight", "bias"):
        if scheme := kept.get(_of(name, part)):
            values[part] = scheme.restore()
    variance, weight = values["running_var"].cpu(), values["weight"].cpu().double()
    factor = _scaled(*before, weight / torch.sqrt(variance + norm.eps), kept) if before else None
    if factor is None:
        variance = torch.from_numpy(short_floats(variance.float().numpy()))
        factor = weight / torch.sqrt(variance.double() + norm.eps)
    else:
        variance, values["weight"] = torch.full_like(variance, 1 - norm.eps), torch.ones_like(variance)
        kept.pop(_of(name, "weight"), None)
    shift = values["bias"].cpu().double() - values["running_mean"].cpu().double() * factor
    norm.weight.copy_(values["weight"])
    norm.bias.copy_(shift)
    norm.get_buffer("running_mean").zero_()
    norm.get_buffer("running_var").copy_(variance)
    norm.get_buffer("num_batches_tracked").zero_()
    if isinstance(scheme := kept.get(_of(name, "bias")), Linear):
        kept[_of(name, "bias")] = quantize_linear(shift.float(), scheme.bits)


def _scaled(name: str, layer: Layer, factor: torch.Tensor, kept: dict[str, Kept]) -> torch.Tensor | None:
    """Multiplies what each channel of the layer gives; returns by how much in the end, None if it cannot."""
    weight, channels = _of(name, "weight"), (-1, *[1] * (layer.weight.dim() - 1))
    scheme = kept.get(weight)
    if scheme is None:
        layer.weight.mul_(factor.to(layer.weight).reshape(channels))
        return factor
    if not isinstance(scheme, Linear) or len(scheme.scale) != len(factor):
        return None
    scale = short_floats((scheme.scale * factor.abs().numpy()).astype(np.float32))
    gone = scale < np.finfo(np.float32).tiny
    signs = np.where(gone, 0, np.sign(factor.numpy())).astype(np.int8)
    scale = np.where(gone, np.float32(1), scale)
    kept[weight] = replace(scheme, levels=scheme.levels * signs.reshape(channels), scale=scale)
    return torch.from_numpy(signs * scale.astype(np.float64) / scheme.scale)


def _layers_before(network: nn.Module) -> dict[str, tuple[str, Layer]]:
    """For each norm the layer right before it, name and module, where nothing else sees what that layer gives.

    Empty where the network cannot be traced, or where a layer has a bias.
    """
    try:
        nodes = list(fx.symbolic_trace(network).graph.nodes)
    except (TraceError, TypeError, NotImplementedError):
        return {}
    modules, calls = dict(network.named_modules()), Counter(node.target for node in nodes if node.op == "call_module")
    weights = Counter(id(parameter) for _, parameter in network.named_parameters(remove_duplicate=False))
    found: dict[str, tuple[str, Layer]] = {}
    for node in nodes:
        source = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) > 1:
            continue
        layer, once = modules[str(source.target)], calls[source.target] == calls[node.target] == 1
        if once and isinstance(layer, Layer) and layer.bias is None and weights[id(layer.weight)] == 1:
            found[str(node.target)] = str(source.target), layer
    return found


def _of(module: str, part: str) -> str:
    return f"{module}.{part}" if module else part
