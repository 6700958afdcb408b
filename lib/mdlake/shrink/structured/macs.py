"""What a network costs by its layers: multiplications and additions (MACs) of one forward pass, or parameters."""

from __future__ import annotations

import torch
from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.models.bundle import Model
from mdlake.models.networks.tabular_ensemble import MemberLinear
from mdlake.shrink.curvature import evaluating
from mdlake.shrink.inputs import Layer, layers_of


def macs(network: nn.Module, example_inputs: tuple[torch.Tensor, ...]) -> int:
    """The MACs of Linear, also of an ensemble's, and Conv2d for `example_inputs`, without biases."""
    return sum(macs_by_layer(network, example_inputs).values())


def costs_by_layer(network: nn.Module, example_inputs: tuple[torch.Tensor, ...], of: str) -> dict[str, int]:
    """The "macs" or "parameters" of each Linear and Conv2d, by the name of its weight, without biases."""
    if of == "macs":
        return macs_by_layer(network, example_inputs)
    if of == "parameters":
        return {name: layer.weight.numel() for name, layer in layers_of(network).items()}
    raise InvalidArgumentError(f"what is saved is macs or parameters, not {of!r}")


def macs_per_row(model: Model) -> int:
    """The same for one row of what the model sees; lookups in embeddings count nothing."""
    return macs(model.module, model.features.tensors(model.features.made_up(1)))


@torch.no_grad()
def macs_by_layer(network: nn.Module, example_inputs: tuple[torch.Tensor, ...]) -> dict[str, int]:
    """The same for each layer, by the name of its weight."""
    found: dict[str, int] = {}

    def watch(name: str, layer: nn.Module, inputs: int) -> torch.utils.hooks.RemovableHandle:
        def hook(module: nn.Module, args: object, output: torch.Tensor) -> None:
            found[name] = found.get(name, 0) + output.numel() * inputs

        return layer.register_forward_hook(hook)

    handles = [watch(name, layer, _inputs(layer)) for name, layer in _counted(network).items()]
    try:
        with evaluating(network):
            network(*example_inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _counted(network: nn.Module) -> dict[str, Layer | MemberLinear]:
    members = {f"{path}.weight": module for path, module in network.named_modules() if isinstance(module, MemberLinear)}
    return {**layers_of(network), **members}


def _inputs(layer: Layer | MemberLinear) -> int:
    """How many products each output is the sum of."""
    return layer.weight.shape[1] if isinstance(layer, MemberLinear) else layer.weight.numel() // len(layer.weight)
