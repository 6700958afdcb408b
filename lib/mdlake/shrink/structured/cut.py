"""Takes units out of a network: its modules get smaller, and its outputs are as if their channels were 0."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.shrink.structured.channels import Units, channel_units
from mdlake.shrink.structured.macs import macs

Scorer = Callable[[nn.Module, Units], np.ndarray]


def choose_units(units: Units, scores: np.ndarray, count: int) -> np.ndarray:
    """int [<= count]: the units of lowest score, of equals the first; the last of a layer always stays."""
    left = {slot: _sizes(numbers, units.count) for slot, numbers in units.written().items()}
    widths = {slot: len(numbers) for slot, numbers in units.written().items()}
    gone: list[int] = []
    for unit in np.argsort(scores, kind="stable").tolist():
        if len(gone) == count or not np.isfinite(scores[unit]):
            break
        touched = {slot: int(sizes[unit]) for slot, sizes in left.items() if sizes[unit]}
        if all(widths[slot] > size for slot, size in touched.items()):
            gone.append(unit)
            for slot, size in touched.items():
                widths[slot] -= size
    return np.array(gone, int)


def remove_units(network: nn.Module, units: Units, gone: np.ndarray) -> None:
    """Cuts the units out of all weights, in place; optimizers made before must be made anew."""
    for slot, numbers in units.numbers.items():
        stays = torch.from_numpy(np.flatnonzero(~np.isin(numbers, gone)))
        if len(stays) < len(numbers):
            take_channels(network.get_submodule(slot.module), slot.axis, stays)


def prune_to_macs(
    network: nn.Module, example_inputs: tuple[torch.Tensor, ...], score: Scorer, share: float
) -> np.ndarray:
    """Takes out the fewest units, lowest score first, for which at most `share` of the MACs are left; in place.

    Returns the units that went. Scores are taken once, of the whole network.
    """
    if not 0 < share <= 1:
        raise InvalidArgumentError(f"the share of MACs to keep is above 0 and at most 1, not {share}")
    units = channel_units(network, example_inputs)
    order = choose_units(units, score(network, units), units.count)
    target = share * macs(network, example_inputs)

    def reached(count: int) -> bool:
        probe = copy.deepcopy(network)
        remove_units(probe, units, order[:count])
        return macs(probe, example_inputs) <= target

    low, high = 0, len(order)
    if not reached(high):
        raise InvalidArgumentError(
            f"even with all that can go gone, more than {share:.0%} of the MACs are left: "
            "inputs, outputs and what is behind operations the trace does not know stay"
        )
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle + 1, high)
    remove_units(network, units, order[:low])
    return order[:low]


def take_channels(module: nn.Module, axis: int, stays: torch.Tensor) -> None:
    """Keeps these channels of a layer, along an axis of its weight, in this order; in place."""
    if isinstance(module, nn.Linear):
        _select(module, "weight", axis, stays)
        module.out_features, module.in_features = module.weight.shape
    elif isinstance(module, nn.Conv2d):
        depthwise = module.groups > 1
        _select(module, "weight", axis, stays)
        module.out_channels = len(module.weight)
        module.groups = len(stays) if depthwise else 1
        module.in_channels = module.weight.shape[1] * module.groups
    else:
        for name in ("weight", "running_mean", "running_var"):
            _select(module, name, 0, stays)
        module.num_features = len(stays)  # type: ignore[assignment]
    if axis == 0:
        _select(module, "bias", 0, stays)


def _select(module: nn.Module, name: str, axis: int, stays: torch.Tensor) -> None:
    tensor = getattr(module, name)
    if tensor is None:
        return
    chosen = tensor.detach().index_select(axis, stays.to(tensor.device)).clone()
    if isinstance(tensor, nn.Parameter):
        chosen = nn.Parameter(chosen, tensor.requires_grad)
    setattr(module, name, chosen)


def _sizes(numbers: np.ndarray, count: int) -> np.ndarray:
    return np.bincount(numbers[numbers >= 0], minlength=count)
