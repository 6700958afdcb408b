"""Which layer cost what: a network after each stage, layer by layer."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from mdlake.artifact.layout import tensor_blocks
from mdlake.models.schemes import Codebook, Kept, Linear, Plain
from mdlake.shrink.stages import Data


@dataclass(frozen=True)
class LayerReport:
    """A layer after a stage. `bytes` are those of its blocks, had it been coded by itself, `bits` those per weight
    before coding. `score`: on the validation split, of the first network with only this layer put in; None if it does
    not fit there, because it was cut or taken apart.
    """

    stage: str
    layer: str
    parameters: int
    nonzero: int
    bits: float
    bytes: int
    score: float | None


def explain_layers(
    stage: str, module: nn.Module, schemes: Mapping[str, Kept], first: nn.Module, first_score: float, data: Data
) -> tuple[LayerReport, ...]:
    """A report for each layer of `module` that has weights, in the order in which they are kept."""
    layers: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in module.state_dict().items():
        layers.setdefault(name.rpartition(".")[0], {})[name] = tensor
    there = first.state_dict()

    def score(tensors: Mapping[str, torch.Tensor]) -> float | None:
        """With this layer alone put in; a layer that is as it was is not measured again."""
        if any(name not in there or there[name].shape != tensor.shape for name, tensor in tensors.items()):
            return None
        if all(torch.equal(there[name], tensor) for name, tensor in tensors.items()):
            return first_score
        probe = copy.deepcopy(first)
        probe.load_state_dict({**there, **tensors})
        return data.measure(probe)

    return tuple(_report(stage, layer, tensors, schemes, score(tensors)) for layer, tensors in layers.items())


def bits_of(scheme: Kept | None, tensor: torch.Tensor) -> int:
    """Bits of a weight before entropy coding."""
    match scheme:
        case Linear():
            return scheme.bits
        case Codebook():
            return len(scheme.book).bit_length()
        case _:
            return 8 * tensor.element_size()


def _report(
    stage: str,
    layer: str,
    tensors: Mapping[str, torch.Tensor],
    schemes: Mapping[str, Kept],
    score: float | None,
) -> LayerReport:
    chosen = {name: schemes.get(name) or Plain(tensor) for name, tensor in tensors.items()}
    count = sum(tensor.numel() for tensor in tensors.values())
    bits = sum(bits_of(schemes.get(name), tensor) * tensor.numel() for name, tensor in tensors.items())
    return LayerReport(
        stage,
        layer,
        count,
        sum(int(torch.count_nonzero(tensor)) for tensor in tensors.values()),
        bits / count if count else 0.0,
        sum(map(len, tensor_blocks(chosen, "fast").values())),
        score,
    )
