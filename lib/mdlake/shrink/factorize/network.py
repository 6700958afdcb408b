"""All layers of a network as two each, where that makes them smaller."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.models.batches import Batches, batches_of
from mdlake.shrink.factorize.layers import (
    Factors,
    can_split,
    factors,
    space_matrix,
    split_channels,
    split_linear,
    split_space,
)
from mdlake.shrink.factorize.ranks import RankRule
from mdlake.shrink.inputs import Layer, layers_in_order, layers_of
from mdlake.shrink.outputs import Spread, output_spreads

CONVOLUTIONS = ("channel", "space")


@dataclass(frozen=True)
class Replaced:
    """A layer that was replaced: the rank, and how many weights there were and are now, biases left out."""

    rank: int
    before: int
    after: int


def factorize(
    network: nn.Module,
    rule: RankRule,
    batches: Batches | None = None,
    convolutions: str = "channel",
    names: Iterable[str] | None = None,
) -> dict[str, Replaced]:
    """Replaces Linear and Conv2d layers in place by two each; returns those replaced, by their weight's name.

    A layer whose two would not have fewer weights stays as it is, and so do grouped convolutions. With
    `batches` the error of the outputs is what is least (not of convolutions taken apart in space). `names`
    restricts it to some weights.
    """
    if convolutions not in CONVOLUTIONS:
        raise InvalidArgumentError(f"convolutions are taken apart by one of {CONVOLUTIONS}, not {convolutions!r}")
    if not callable(rule):
        raise InvalidArgumentError(
            f"the rule makes a rank of singular values, as by_energy(0.95) does; it is not {rule!r}"
        )
    held = None if batches is None else list(batches_of(batches))
    layers = layers_of(network) if held is None else layers_in_order(network, held)
    wanted = list(layers) if names is None else list(names)
    if unknown := sorted(set(wanted) - set(layers)):
        raise InvalidArgumentError(f"no Linear or Conv2d has these weights: {unknown}")
    spreads = output_spreads(network, held, wanted) if held is not None else {}
    replaced = {}
    for name in wanted:
        found = _taken_apart(layers[name], rule, spreads.get(name), convolutions) if can_split(layers[name]) else None
        if found:
            _put(network, name, found[0])
            replaced[name] = found[1]
    return replaced


def _taken_apart(
    layer: Layer, rule: RankRule, spread: Spread | None, convolutions: str
) -> tuple[nn.Module, Replaced] | None:
    in_space = isinstance(layer, nn.Conv2d) and convolutions == "space"
    matrix = space_matrix(layer) if in_space else layer.weight.flatten(1)  # type: ignore[arg-type]
    shape = (matrix.shape[0], matrix.shape[1])
    found = factors(matrix, None if in_space else spread)
    rank = min(rule(found.values.cpu().numpy(), shape), len(found.values))
    after = rank * sum(shape)
    if after >= matrix.numel():
        return None
    return _split(layer, found, rank, in_space), Replaced(rank, matrix.numel(), after)


def _split(layer: Layer, found: Factors, rank: int, in_space: bool) -> nn.Sequential:
    if isinstance(layer, nn.Linear):
        return split_linear(layer, found, rank)
    return split_space(layer, found, rank) if in_space else split_channels(layer, found, rank)


def _put(network: nn.Module, name: str, module: nn.Module) -> None:
    path = name.removesuffix("weight").rstrip(".")
    if not path:
        raise InvalidArgumentError("the network is a single layer: put it into a Sequential to factorise it")
    parent, _, child = path.rpartition(".")
    setattr(network.get_submodule(parent), child, module)
