"""Factorising: exact at full rank, least error below it, smaller modules, and ranks that find the structure."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from mdlake.errors import InvalidArgumentError
from mdlake.models.batches import Batch
from mdlake.shrink.factorize.layers import factors, space_matrix, split_channels, split_linear, split_space
from mdlake.shrink.factorize.network import factorize
from mdlake.shrink.factorize.ranks import by_description_length, by_energy, by_weights
from mdlake.shrink.inputs import layers_of
from mdlake.shrink.outputs import Spread, output_spreads
from tests.tiny_networks import accuracy, convolutional, dense, images, points, trained


@pytest.mark.parametrize("bias", [True, False])
def test_all_factors_are_the_layer_itself(bias: bool) -> None:
    linear, inputs = nn.Linear(7, 5, bias=bias), torch.randn(3, 7)
    assert torch.allclose(split_linear(linear, factors(linear.weight), 5)(inputs), linear(inputs), atol=1e-5)
    spread = output_spreads(linear, [Batch((torch.randn(20, 7),), torch.zeros(20))], ["weight"])["weight"]
    weighted = split_linear(linear, factors(linear.weight, spread), 5)
    assert torch.allclose(weighted(inputs), linear(inputs), atol=1e-5)


def test_convolutions_keep_stride_padding_and_dilation() -> None:
    layer = nn.Conv2d(3, 6, (3, 5), stride=(2, 1), padding=(1, 2), dilation=(1, 2))
    inputs = torch.randn(2, 3, 12, 14)
    by_channels = split_channels(layer, factors(layer.weight.flatten(1)), 6)
    in_space = split_space(layer, factors(space_matrix(layer)), 9)
    for module in (by_channels, in_space):
        assert torch.allclose(module(inputs), layer(inputs), atol=1e-5)
    assert [tuple(p.shape) for p in in_space.parameters() if p.dim() > 1] == [(9, 3, 3, 1), (6, 9, 1, 5)]


def test_fewer_factors_leave_the_least_error_there_can_be() -> None:
    """Eckart and Young: the squares of the values that are left out."""
    weight = torch.randn(9, 6, generator=torch.Generator().manual_seed(0))
    found = factors(weight)
    error = (weight - found.left[:, :2] @ found.right[:2]).square().sum()
    assert float(error) == pytest.approx(float(found.values[2:].square().sum()))


def test_with_data_the_outputs_are_closer_and_the_values_tell_by_how_much() -> None:
    random = torch.Generator().manual_seed(0)
    inputs = (torch.randn(500, 20, generator=random) * torch.logspace(0, -2, 20)).double()
    weight = torch.randn(15, 20, generator=random).double()
    spread = Spread(weight @ inputs.T @ inputs @ weight.T / 500, torch.zeros(15).double(), torch.eye(15).double())
    errors = []
    for found in (factors(weight, spread), factors(weight)):
        close = found.left[:, :4] @ found.right[:4]
        errors.append(float((inputs @ (weight - close).T).square().sum() / 500))
    assert errors[0] < errors[1] / 2
    assert errors[0] == pytest.approx(float(factors(weight, spread).values[4:].square().sum()), rel=0.02)


def test_what_comes_next_may_work_in_place() -> None:
    """The outputs are those of the layer, not what a ReLU in place makes of them."""
    layer, inputs = nn.Linear(8, 8), torch.randn(100, 8)
    batches = [Batch((inputs,), torch.zeros(100))]
    alone = output_spreads(layer, batches, ["weight"])["weight"]
    found = output_spreads(nn.Sequential(layer, nn.ReLU(inplace=True)), batches, ["0.weight"])["0.weight"]
    assert torch.equal(found.second, alone.second) and torch.equal(found.mean, alone.mean)


@pytest.mark.parametrize("outputs", [6, 40])
def test_the_bias_makes_up_for_the_mean(outputs: int) -> None:
    """Outputs of rank 2 about their mean: two factors and a bias give them, whatever the mean; without it, three do."""
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(300, 2, generator=random) @ torch.randn(2, 12, generator=random) + torch.arange(12.0)
    batches = [Batch((inputs,), torch.zeros(300))]
    for bias, rank in ((True, 2), (False, 3)):
        layer = nn.Linear(12, outputs, bias=bias)
        expected = layer(inputs).detach()
        found = factors(layer.weight, output_spreads(layer, batches, ["weight"])["weight"])
        assert torch.allclose(split_linear(layer, found, rank)(inputs), expected, atol=1e-2)
        assert not torch.allclose(split_linear(layer, found, rank - 1)(inputs), expected, atol=0.2)


def test_energy_is_the_sum_of_squares() -> None:
    values = np.array([3.0, 2.0, 1.0, 0.0])
    assert [by_energy(share)(values, (4, 4)) for share in (0.5, 9 / 14, 0.65, 13 / 14, 1.0)] == [1, 1, 2, 2, 3]
    assert by_weights(0.5)(values, (40, 60)) == 12 and by_weights(0.01)(values, (4, 4)) == 1
    for rule in (by_energy, by_weights):
        with pytest.raises(InvalidArgumentError, match="share"):
            rule(0.0)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_description_length_tells_structure_from_noise(rank: int) -> None:
    random = np.random.default_rng(rank)
    matrix = random.normal(size=(60, rank)) @ random.normal(size=(rank, 50)) + 0.3 * random.normal(size=(60, 50))
    assert by_description_length(np.linalg.svd(matrix, compute_uv=False), (60, 50)) == rank
    assert by_description_length(np.linalg.svd(random.normal(size=(60, 50)), compute_uv=False), (60, 50)) == 1


def test_networks_get_smaller_and_learn_on() -> None:
    batches = points()
    network = trained(dense(), batches)
    before, size = accuracy(network, batches), sum(p.numel() for p in network.parameters())
    found = factorize(network, by_weights(0.6), batches, names=["0.weight", "2.weight"])
    assert found["0.weight"].rank == 4 and isinstance(network.get_submodule("0"), nn.Sequential)
    saved = sum(layer.before - layer.after for layer in found.values())
    assert sum(p.numel() for p in network.parameters()) == size - saved and saved > 250
    assert accuracy(network, batches) > before - 0.1
    assert accuracy(trained(network, batches, 10), batches) > before - 0.03


@pytest.mark.parametrize("convolutions", ["channel", "space"])
def test_convolutional_networks_too(convolutions: str) -> None:
    batches = images()
    network = trained(convolutional(), batches, 12)
    kernel = torch.outer(torch.tensor([1.0, 2, 1]), torch.tensor([0.5, 1, 0.5])) / 4
    network.get_parameter("0.weight").data.copy_(torch.randn(8, 2, 1, 1) * kernel)
    whole = copy.deepcopy(network)
    found = factorize(network, by_energy(0.99999), batches, convolutions)
    assert "3.weight" not in found  # groups
    assert "0.weight" in found and all(layer.after < layer.before for layer in found.values())
    (inputs,) = batches[0].inputs
    assert torch.allclose(network(inputs), whole(inputs), atol=0.1)
    assert accuracy(network, batches) == pytest.approx(accuracy(whole, batches), abs=0.03)


def test_what_would_not_get_smaller_stays() -> None:
    network = dense()
    before = copy.deepcopy(network.state_dict())
    assert factorize(network, by_energy(1.0)) == {}
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert set(factorize(network, by_weights(0.3), names=["2.weight"])) == {"2.weight"}
    assert set(layers_of(network)) == {"0.weight", "2.0.weight", "2.1.weight", "4.weight"}


def test_wrong_requests_are_named() -> None:
    with pytest.raises(InvalidArgumentError, match=r"\['7.weight'\]"):
        factorize(dense(), by_energy(0.5), names=["7.weight"])
    with pytest.raises(InvalidArgumentError, match="taken apart by one of"):
        factorize(dense(), by_energy(0.5), convolutions="both")
    with pytest.raises(InvalidArgumentError, match="single layer"):
        factorize(nn.Linear(30, 30), by_weights(0.5))
    with pytest.raises(InvalidArgumentError, match="no batch reached"):
        factorize(dense(), by_energy(0.5), list[Batch]())
