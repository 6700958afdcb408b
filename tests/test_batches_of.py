"""Promise: what a network is shrunk with may come from the library's shards or from any torch DataLoader."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from mdlake.errors import InvalidArgumentError
from mdlake.models.batches import Batch, batches_of
from mdlake.shrink.factorize import by_energy, factorize
from mdlake.shrink.prune import apply_masks, prune_by_surgeon


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 30), nn.ReLU(), nn.Linear(30, 4))


@pytest.fixture
def loader() -> DataLoader:
    torch.manual_seed(1)
    inputs = torch.randn(80, 3) @ torch.randn(3, 12)
    return DataLoader(TensorDataset(inputs, torch.zeros(80)), batch_size=20)


def test_a_data_loader_does_as_well_as_batches(network: nn.Module, loader: DataLoader) -> None:
    ours, other = copy.deepcopy(network), copy.deepcopy(network)
    replaced = factorize(ours, by_energy(0.999), loader)
    assert replaced and replaced == factorize(other, by_energy(0.999), [Batch((x,), y) for x, y in loader])
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), other.parameters(), strict=True))
    assert prune_by_surgeon(network, loader, 0.5).keys() == {"0.weight", "2.weight"}


def test_inputs_may_be_several() -> None:
    given = (torch.ones(2), torch.zeros(2, 3)), torch.arange(2)
    batch = next(iter(batches_of([given])))
    assert len(batch.inputs) == 2 and torch.equal(batch.labels, torch.arange(2))


@pytest.mark.parametrize("given", [torch.ones(2, 3), [torch.ones(2)], ([1, 2], [3, 4]), "ab", ((), torch.ones(2), 3)])
def test_what_is_no_batch_is_told(network: nn.Module, given: object) -> None:
    with pytest.raises(InvalidArgumentError, match="as a DataLoader gives; it is not"):
        factorize(network, by_energy(0.9), [given])  # type: ignore[list-item]


def test_a_rule_that_is_none_is_told(network: nn.Module) -> None:
    with pytest.raises(InvalidArgumentError, match=r"as by_energy\(0.95\) does; it is not 0.9"):
        factorize(network, 0.9)  # type: ignore[arg-type]


def test_masks_of_other_networks_are_told_and_nothing_is_set(network: nn.Module) -> None:
    before = copy.deepcopy(network.state_dict())
    none = torch.zeros(30, 12, dtype=torch.bool)
    for other in ({"0.weight": none, "1.weight": none}, {"0.weight": none, "2.weight": none}):
        with pytest.raises(InvalidArgumentError, match=r"tensor '.*': a mask has the shape \(30, 12\)"):
            apply_masks(network, other)
        assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
