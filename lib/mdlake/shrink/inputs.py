"""What goes into each layer: the second moments of the inputs of Linear and Conv2d over batches of data.

For a layer y = W x the squared error of y when W changes by E is E A E^T with A = mean(x x^T): twice A is the
Hessian of that error in each row of W. Second-order pruning, error-feedback rounding and data-aware
factorising need nothing else of the data. Convolutions are matrix products of their patches (im2col); with
groups, each group has a matrix of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import pad, unfold

from mdlake.errors import InvalidArgumentError
from mdlake.models.batches import Batch, Batches, batches_of
from mdlake.shrink.curvature import evaluating

Layer = nn.Linear | nn.Conv2d


@dataclass
class Moments:
    """`second` is the mean of x x^T, float64 [groups, inputs, inputs]; `mean` that of x, [groups, inputs]."""

    second: torch.Tensor
    mean: torch.Tensor

    @property
    def covariance(self) -> torch.Tensor:
        """The second moments about the mean: what is left to lose once the bias makes up for the rest."""
        return self.second - self.mean.unsqueeze(2) * self.mean.unsqueeze(1)


def layers_of(network: nn.Module) -> dict[str, Layer]:
    """All Linear and Conv2d modules, by the name of their weight (`layer.weight`), in order of definition."""
    found = network.named_modules()
    return {_weight_name(name): module for name, module in found if isinstance(module, Layer)}


@torch.no_grad()
def layers_in_order(network: nn.Module, batches: Sequence[Batch]) -> dict[str, Layer]:
    """The same, in the order in which the first batch reaches them; those that it does not reach are left out."""
    layers, reached = layers_of(network), dict[str, Layer]()

    def watch(name: str, layer: Layer) -> torch.utils.hooks.RemovableHandle:
        return layer.register_forward_pre_hook(lambda module, args: reached.setdefault(name, layer) and None)

    handles = [watch(name, layer) for name, layer in layers.items()]
    try:
        with evaluating(network):
            for batch in batches[:1]:
                network(*batch.inputs)
    finally:
        for handle in handles:
            handle.remove()
    if layers and not reached:
        raise InvalidArgumentError("no batch reached any Linear or Conv2d; pass some rows of the training split")
    return reached


def weight_matrices(layer: Layer) -> torch.Tensor:
    """The weights as [groups, outputs of a group, inputs of a group]; of Conv2d, inputs are channels x kernel."""
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    return layer.weight.detach().reshape(groups, layer.weight.shape[0] // groups, -1)


def input_rows(layer: Layer, inputs: torch.Tensor) -> torch.Tensor:
    """The inputs as [groups, rows, inputs of a group]: `weight_matrices` times these are the outputs."""
    if isinstance(layer, nn.Linear):
        return inputs.reshape(1, -1, inputs.shape[-1])
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        edges = layer._reversed_padding_repeated_twice
        inputs = pad(inputs, edges, "constant" if layer.padding_mode == "zeros" else layer.padding_mode)
        padding: tuple[int, ...] = (0, 0)
    else:
        padding = layer.padding
    patches = unfold(inputs, layer.kernel_size, layer.dilation, padding, layer.stride)
    grouped = patches.reshape(len(patches), layer.groups, -1, patches.shape[2])
    return grouped.permute(1, 0, 3, 2).reshape(layer.groups, -1, grouped.shape[2])


def input_moments(network: nn.Module, batches: Batches, names: Iterable[str] | None = None) -> dict[str, Moments]:
    """The moments of each layer's inputs, by the name of its weight; of all layers, or of those in `names`."""
    layers = layers_of(network)
    wanted = list(layers) if names is None else list(names)
    if missing := sorted(set(wanted) - set(layers)):
        raise InvalidArgumentError(f"no Linear or Conv2d has these weights: {missing}; there are {sorted(layers)}")
    sums: dict[str, list[torch.Tensor]] = {}
    for name, rows in seen_inputs(network, batches, {name: layers[name] for name in wanted}):
        rows = rows.double()
        parts = [rows.transpose(1, 2) @ rows, rows.sum(1), torch.tensor(rows.shape[1])]
        sums[name] = [a + b for a, b in zip(sums[name], parts, strict=True)] if name in sums else parts
    if unused := sorted(set(wanted) - set(sums)):
        raise InvalidArgumentError(f"no batch reached these layers: {unused}; pass some rows of the training split")
    return {name: Moments(second / count, total / count) for name, (second, total, count) in sums.items()}


def cross_moments(network: nn.Module, reference: nn.Module, batches: Batches, name: str) -> tuple[Moments, Moments]:
    """A layer's inputs x in `network`, and z in `reference`, which has the same layers: of x x^T, and of z x^T.

    The second's `mean` is that of z.
    """
    ours, theirs = ({name: layers_of(module)[name]} for module in (network, reference))
    sums: list[torch.Tensor] | None = None
    pairs = zip(seen_inputs(network, batches, ours), seen_inputs(reference, batches, theirs), strict=True)
    for (_, x), (_, z) in pairs:
        x, z = x.double(), z.double()
        turned = x.transpose(1, 2)
        parts = [turned @ x, x.sum(1), z.transpose(1, 2) @ x, z.sum(1), torch.tensor(x.shape[1])]
        sums = parts if sums is None else [a + b for a, b in zip(sums, parts, strict=True)]
    if sums is None:
        raise InvalidArgumentError(f"no batch reached the layer of {name!r}; pass some rows of the training split")
    own, mean, crossed, other, count = sums
    return Moments(own / count, mean / count), Moments(crossed / count, other / count)


@torch.no_grad()
def seen_inputs(network: nn.Module, batches: Batches, layers: dict[str, Layer]) -> Iterator[tuple[str, torch.Tensor]]:
    """(name, `input_rows`) of every call of every layer, a batch at a time, in eval mode."""
    caught: list[tuple[str, torch.Tensor]] = []

    def catch(name: str, layer: Layer) -> torch.utils.hooks.RemovableHandle:
        return layer.register_forward_pre_hook(lambda module, args: caught.append((name, input_rows(layer, args[0]))))

    handles = [catch(name, layer) for name, layer in layers.items()]
    try:
        with evaluating(network):
            for batch in batches_of(batches):
                network(*batch.inputs)
                yield from caught
                caught.clear()
    finally:
        for handle in handles:
            handle.remove()


def _weight_name(module: str) -> str:
    return f"{module}.weight" if module else "weight"
