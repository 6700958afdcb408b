"""What each layer's outputs are worth: the curvature of the loss in them, over batches of data.

With the moments of the inputs this is the Kronecker-factored Fisher matrix of the weights (Martens and
Grosse, Optimizing Neural Networks with Kronecker-factored Approximate Curvature, 2015; for convolutions
Grosse and Martens, 2016): when the weights change by E, the loss grows by about half the trace of
G E A E^T, so errors of all layers are counted in one unit, that of the loss. The labels are drawn from what
the network itself predicts: those of the data would leave nothing to see once it has learnt them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.models.batches import Batch
from mdlake.shrink.curvature import RowsLoss, evaluating
from mdlake.shrink.inputs import Layer, layers_of


def output_curvature(
    network: nn.Module,
    batches: Iterable[Batch],
    loss: RowsLoss,
    temperature: float = 4.0,
    draws: int = 1,
    seed: int = 0,
) -> dict[str, torch.Tensor]:
    """float64 [outputs, outputs] by weight name: the mean over rows of g g^T, g the gradient of a row's loss.

    For convolutions it is summed over positions. Each batch is gone through `draws` times with other labels. The
    logits are divided by `temperature`: 1 gives the Fisher matrix itself; above it shows what larger errors do to a
    network that is sure of itself, whose loss is flat nearby and steep further out.
    """
    layers, generator = layers_of(network), torch.Generator().manual_seed(seed)
    sums = {name: torch.zeros(_width(layer), _width(layer), dtype=torch.float64) for name, layer in layers.items()}
    caught: dict[str, list[torch.Tensor]] = {name: [] for name in layers}
    handles = [_catch(layer, caught[name]) for name, layer in layers.items()]
    rows = 0

    def cooled(logits: torch.Tensor) -> torch.Tensor:
        logits = logits / temperature
        return loss(logits, drawn_labels(logits, generator)) * len(logits)

    try:
        with evaluating(network), torch.enable_grad():
            for batch in batches:
                for _ in range(draws):
                    _add_gradients(network, batch, cooled, layers, caught, sums)
                    rows += len(batch.labels)
    finally:
        for handle in handles:
            handle.remove()
    if not rows:
        raise InvalidArgumentError("there are no batches to measure on: pass some rows of the training split")
    return {name: total / rows for name, total in sums.items()}


def drawn_labels(logits: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Labels as the network predicts them: of logits [rows, classes] int64, of logits [rows] float 0 or 1."""
    chances = logits.detach().cpu().double()
    if logits.dim() == 1:
        return torch.bernoulli(chances.sigmoid(), generator=generator).to(logits)
    return torch.multinomial(chances.softmax(1), 1, generator=generator)[:, 0].to(logits.device)


def _add_gradients(
    network: nn.Module,
    batch: Batch,
    loss: Callable[[torch.Tensor], torch.Tensor],
    layers: dict[str, Layer],
    caught: dict[str, list[torch.Tensor]],
    sums: dict[str, torch.Tensor],
) -> None:
    for outputs in caught.values():
        outputs.clear()
    value = loss(network(*batch.inputs))
    reached = [(name, output) for name, outputs in caught.items() for output in outputs]
    gradients = torch.autograd.grad(value, [output for _, output in reached], allow_unused=True)
    for (name, _), gradient in zip(reached, gradients, strict=True):
        if gradient is not None:
            axis = -1 if isinstance(layers[name], nn.Linear) else 1
            flat = gradient.movedim(axis, 0).flatten(1).double().cpu()
            sums[name] += flat @ flat.T


def _catch(layer: Layer, outputs: list[torch.Tensor]) -> torch.utils.hooks.RemovableHandle:
    def hook(module: nn.Module, args: object, output: torch.Tensor) -> None:
        outputs.append(output)

    return layer.register_forward_hook(hook)


def _width(layer: Layer) -> int:
    return layer.weight.shape[0]
