"""What comes out of each layer, over batches of data: its second moments, and the curvature of the loss in it.

The moments tell which directions of the outputs there are (principal components, for `factorize`), the curvature what
each output is worth. With the moments of the inputs it makes the Fisher matrix of the weights, by the Kronecker factors
of Martens and Grosse (2015) and, for convolutions, Grosse and Martens (2016), of the outputs' factor the diagonal
alone: when the weights of output i change by e, the loss grows by about g_i e^T A e / 2, so errors of all layers are
counted in one unit, that of the loss. The labels are drawn from what the network itself predicts: those of the data
would leave nothing to see once it has learnt them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.models.batches import Batches, batches_of
from mdlake.shrink.curvature import RowsLoss, evaluating
from mdlake.shrink.inputs import Layer, layers_of


@dataclass(frozen=True)
class Spread:
    """`second`, float64 [k, k]: moments of the outputs, the bias left out, about their `mean` [k].

    Both along the columns of `basis` [outputs, k], orthonormal, float64, which span all outputs that there can be: k is
    at most the number of inputs. A layer without a bias cannot make up for a mean: its moments are about 0, the mean 0.
    """

    second: torch.Tensor
    mean: torch.Tensor
    basis: torch.Tensor


@torch.no_grad()
def output_spreads(network: nn.Module, batches: Batches, names: Iterable[str]) -> dict[str, Spread]:
    """Of these layers' outputs, by the name of the weight. Held at once: a batch's outputs and two matrices a layer."""
    layers = {name: layer for name, layer in layers_of(network).items() if name in set(names)}
    bases = {name: _basis(layer) for name, layer in layers.items()}
    sums: dict[str, list[torch.Tensor]] = {}
    with evaluating(network), _caught(layers) as caught:
        for batch in batches_of(batches):
            caught.clear()
            network(*batch.inputs)
            for name, output in caught:
                bias = layers[name].bias
                rows = _columns(layers[name], output).double() - (0.0 if bias is None else bias.double()[:, None])
                rows = bases[name].T @ rows
                parts = [rows @ rows.T, rows.sum(1), torch.tensor(rows.shape[1])]
                sums[name] = [a + b for a, b in zip(sums[name], parts, strict=True)] if name in sums else parts
    if unused := sorted(set(layers) - set(sums)):
        raise InvalidArgumentError(f"no batch reached these layers: {unused}; pass some rows of the training split")
    found = {}
    for name, (second, total, count) in sums.items():
        mean = total / count if layers[name].bias is not None else torch.zeros_like(total)
        found[name] = Spread((second / count - torch.outer(mean, mean)).cpu(), mean.cpu(), bases[name].cpu())
    return found


def _basis(layer: Layer) -> torch.Tensor:
    weight = layer.weight.detach().flatten(1).double()
    if weight.shape[0] <= weight.shape[1]:
        return torch.eye(len(weight)).to(weight)
    return torch.linalg.qr(weight)[0]


def output_curvature(
    network: nn.Module,
    batches: Batches,
    loss: RowsLoss,
    temperature: float = 4.0,
    draws: int = 1,
    seed: int = 0,
) -> dict[str, torch.Tensor]:
    """float64 [outputs] by weight name: the mean over rows of the square of the gradient of a row's loss.

    For convolutions it is summed over positions. Each batch is gone through `draws` times with other labels. The
    logits are divided by `temperature`: 1 gives the Fisher matrix itself; above it shows what larger errors do to a
    network that is sure of itself, whose loss is flat nearby and steep further out.
    """
    layers, generator = layers_of(network), torch.Generator().manual_seed(seed)
    sums = {name: torch.zeros(len(layer.weight), dtype=torch.float64) for name, layer in layers.items()}
    rows = 0
    with evaluating(network), torch.enable_grad(), _caught(layers) as caught:
        for batch in batches_of(batches):
            for _ in range(draws):
                caught.clear()
                logits = network(*batch.inputs) / temperature
                value = loss(logits, drawn_labels(logits, generator)) * len(logits)
                _add_squares(value, caught, layers, sums)
                rows += len(logits)
    if not rows:
        raise InvalidArgumentError("there are no batches to measure on: pass some rows of the training split")
    return {name: total / rows for name, total in sums.items()}


def drawn_labels(logits: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Labels as the network predicts them: of logits [rows, classes] int64, of logits [rows] float 0 or 1."""
    chances = logits.detach().cpu().double()
    if logits.dim() == 1:
        return torch.bernoulli(chances.sigmoid(), generator=generator).to(logits)
    return torch.multinomial(chances.softmax(1), 1, generator=generator)[:, 0].to(logits.device)


def _add_squares(
    loss: torch.Tensor,
    caught: list[tuple[str, torch.Tensor]],
    layers: dict[str, Layer],
    sums: dict[str, torch.Tensor],
) -> None:
    gradients = torch.autograd.grad(loss, [output for _, output in caught], allow_unused=True)
    for (name, _), gradient in zip(caught, gradients, strict=True):
        if gradient is not None:
            sums[name] += _columns(layers[name], gradient).double().square().sum(1).cpu()


def _columns(layer: Layer, output: torch.Tensor) -> torch.Tensor:
    """[outputs, rows], of convolutions rows x positions."""
    return output.movedim(-1 if isinstance(layer, nn.Linear) else 1, 0).flatten(1)


@contextmanager
def _caught(layers: dict[str, Layer]) -> Iterator[list[tuple[str, torch.Tensor]]]:
    """What the layers give while the block runs, by name, in the order in which they are reached.

    What comes next gets a copy: it may work in place.
    """
    caught: list[tuple[str, torch.Tensor]] = []

    def catch(name: str, layer: Layer) -> torch.utils.hooks.RemovableHandle:
        def hook(module: nn.Module, args: object, output: torch.Tensor) -> torch.Tensor:
            caught.append((name, output))
            return output.clone()

        return layer.register_forward_hook(hook)

    handles = [catch(name, layer) for name, layer in layers.items()]
    try:
        yield caught
    finally:
        for handle in handles:
            handle.remove()
