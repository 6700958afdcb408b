"""Puts the channels and neurons of a network in another order, which changes nothing in what it computes.

Any order of hidden units gives the same network (Hecht-Nielsen, On the algebraic structure of feedforward network
weight spaces, 1990). Sorted by how many weights they have left, those that are alike lie together, and where the
weights of a pruned network are takes fewer bits to say. Sums are made in another order, so outputs may differ in the
last bit of a float.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.shrink.structured.channels import Units, channel_units
from mdlake.shrink.structured.cut import take_channels

Masks = dict[str, torch.Tensor]


def sort_units(network: nn.Module, example_inputs: tuple[torch.Tensor, ...], masks: Masks) -> Masks:
    """Sorts the units of each layer in place, those with the most weights first; returns the masks in that order.

    A network that cannot be traced, or in which units cannot be moved by themselves (concatenated channels), is left as
    it is.
    """
    try:
        units = channel_units(network, example_inputs)
    except InvalidArgumentError:  # it is as good in its own order, only longer to tell
        return masks
    if not _movable(units):
        return masks
    order = np.argsort(-_weights_left(network, units), kind="stable")
    rank = np.empty(units.count, np.int64)
    rank[order] = np.arange(units.count)
    moved = dict(masks)
    for slot, numbers in units.numbers.items():
        if numbers[0] < 0:
            continue
        places = torch.from_numpy(np.argsort(rank[numbers], kind="stable"))
        take_channels(network.get_submodule(slot.module), slot.axis, places)
        for name, axis in ((f"{slot.module}.weight", slot.axis), *([(f"{slot.module}.bias", 0)] * (slot.axis == 0))):
            if name in moved:
                moved[name] = moved[name].index_select(axis, places)
    return moved


def _movable(units: Units) -> bool:
    """Whether every place has all units of one layer, or none at all."""
    sets = {slot: frozenset(numbers.tolist()) for slot, numbers in units.numbers.items()}
    owned = set(map(sets.__getitem__, units.written())) - {frozenset({-1})}
    apart = sum(map(len, owned)) == len(frozenset().union(*owned)) if owned else True
    return apart and all(found in owned or found == {-1} for found in sets.values())


def _weights_left(network: nn.Module, units: Units) -> np.ndarray:
    counts = np.zeros(units.count, np.int64)
    for slot, numbers in units.written().items():
        module = network.get_submodule(slot.module)
        if isinstance(module, nn.Linear | nn.Conv2d) and numbers[0] >= 0:
            left = torch.count_nonzero(module.weight.detach().flatten(1), dim=1).cpu().numpy()
            np.add.at(counts, numbers, left)
    return counts
