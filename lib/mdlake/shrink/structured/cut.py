"""Takes units out of a network: its modules get smaller, and its outputs are as if their channels were 0."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.shrink.structured.channels import Units, channel_units
from mdlake.shrink.structured.macs import costs_by_layer

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


def prune_to_share(
    network: nn.Module,
    example_inputs: tuple[torch.Tensor, ...],
    score: Scorer,
    share: float,
    of: str = "macs",
    by_cost: bool = False,
) -> np.ndarray:
    """Takes out the fewest units, lowest score first, for which at most `share` of `of` are left; in place.

    of: "macs" or "parameters". by_cost: first go those whose score is lowest for what each saves of these by itself,
    as Theis, Korshunova, Tejani and Huszar, Faster Gaze Prediction with Dense Networks and Fisher Pruning (2018), weigh
    both: for scores that are losses, and compare between layers. Returns the units that went. Scores are taken once,
    of the whole network.
    """
    if not 0 < share <= 1:
        raise InvalidArgumentError(f"the share of {of} to keep is above 0 and at most 1, not {share}")
    units = channel_units(network, example_inputs)
    costs = costs_by_layer(network, example_inputs, of)
    worth = np.maximum(_saved(network, units, costs), 1.0) if by_cost else 1.0
    order = choose_units(units, score(network, units) / worth, units.count)
    target = share * sum(costs.values())

    def reached(count: int) -> bool:
        probe = copy.deepcopy(network)
        remove_units(probe, units, order[:count])
        return sum(costs_by_layer(probe, example_inputs, of).values()) <= target

    low, high = 0, len(order)
    if not reached(high):
        raise InvalidArgumentError(
            f"even with all that can go gone, more than {share:.0%} of the {of} are left: "
            "inputs, outputs and what is behind operations the trace does not know stay"
        )
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle + 1, high)
    remove_units(network, units, order[:low])
    return order[:low]


def _saved(network: nn.Module, units: Units, costs: Mapping[str, int]) -> np.ndarray:
    """float64 [units]: what taking out one alone saves, in all layers that write or read it."""
    saved = np.zeros(units.count)
    for slot, numbers in units.numbers.items():
        if cost := costs.get(f"{slot.module}.weight"):
            free = numbers >= 0
            np.add.at(saved, numbers[free], cost / len(numbers))
    return saved


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
