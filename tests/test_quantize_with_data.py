"""Quantising with data: errors are fed back, levels are priced, biases and ranges come from calibration."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from mdlake.errors import InvalidArgumentError
from mdlake.models.batches import Batch
from mdlake.shrink.aware import FakeQuantized
from mdlake.shrink.inputs import input_moments, layers_in_order, layers_of, weight_matrices
from mdlake.shrink.outputs import drawn_labels, output_curvature
from mdlake.shrink.prune import prunable
from mdlake.shrink.prune.second_order import prune_by_surgeon
from mdlake.shrink.quantize import quantize_all, quantize_linear, uniform_bits
from mdlake.shrink.quantize.activations import ActivationOptions, QuantizedInput, quantize_activations
from mdlake.shrink.quantize.correction import correct_biases, reestimate_statistics
from mdlake.shrink.quantize.feedback import quantize_with_feedback, round_layer
from mdlake.shrink.quantize.price import search_price
from mdlake.shrink.quantize.rate_distortion import RateOptions, quantize_by_rate
from mdlake.shrink.quantize.rates import adaptive_bits, rate_distortion
from tests.tiny_networks import Residual, accuracy, convolutional, dense, images, points, trained


@pytest.fixture(scope="module")
def fitted() -> nn.Module:
    return trained(dense(), points(), 40)


@pytest.fixture(scope="module")
def fitted_images() -> nn.Module:
    return trained(convolutional(), images(), 15)


def loss_of(network: nn.Module, batches: list[Batch]) -> float:
    with torch.no_grad():
        return float(torch.stack([cross_entropy(network(*b.inputs), b.labels) for b in batches]).mean())


def total_bits(found: dict) -> float:
    return sum(adaptive_bits(linear.levels) for linear in found.values())


def test_feedback_keeps_outputs_closer_than_rounding() -> None:
    random = torch.Generator().manual_seed(0)
    inputs = (torch.randn(600, 6, generator=random) @ torch.randn(6, 40, generator=random)).double()
    inputs += 0.1 * torch.randn(600, 40, generator=random)
    weights = torch.randn(1, 16, 40, generator=random)
    second = (inputs.T @ inputs / 600)[None]
    for bits in (2, 3, 4):
        fed = round_layer(weights, second, bits, "channel", (16, 40))
        plain = quantize_linear(weights[0], bits, "channel")
        errors = [(inputs @ (linear.restore() - weights[0]).double().T).square().mean() for linear in (fed, plain)]
        assert errors[0] < errors[1] / 2
        assert np.abs(fed.levels).max() <= 2 ** (bits - 1) - 1 and np.array_equal(fed.scale, plain.scale)


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_networks_rounded_with_feedback_keep_their_loss(fitted_images: nn.Module, granularity: str) -> None:
    batches = images()
    network, plain = copy.deepcopy(fitted_images), copy.deepcopy(fitted_images)
    found = quantize_with_feedback(network, batches, 3, granularity)
    for weight in prunable(plain).values():
        weight.copy_(quantize_linear(weight, 3, granularity).restore())
    assert set(found) == set(layers_of(network))
    assert all(torch.equal(network.get_parameter(name), linear.restore()) for name, linear in found.items())
    assert loss_of(network, batches) < loss_of(plain, batches)


def test_output_curvature_is_the_fisher_matrix_of_the_outputs(fitted: nn.Module) -> None:
    """Of the last layer's logits it is known: the mean of p (1 - p)."""
    batches = points()
    found = output_curvature(fitted, batches, cross_entropy, 1.0, draws=40)["4.weight"]
    chances = torch.cat([fitted(*batch.inputs).detach().softmax(1) for batch in batches]).double()
    expected = (chances * (1 - chances)).mean(0)
    assert torch.allclose(found, expected, atol=0.01)
    assert found.dtype == torch.float64


def test_labels_are_drawn_as_predicted() -> None:
    generator = torch.Generator().manual_seed(0)
    classes = drawn_labels(torch.tensor([[0.0, math.log(3.0)]]).expand(4000, 2), generator)
    assert classes.dtype == torch.int64 and float(classes.float().mean()) == pytest.approx(0.75, abs=0.03)
    binary = drawn_labels(torch.full((4000,), math.log(3.0)), generator)
    assert binary.dtype == torch.float32 and float(binary.mean()) == pytest.approx(0.75, abs=0.03)


def test_moments_and_curvature_foretell_what_the_loss_loses(fitted: nn.Module) -> None:
    batches = points()
    second = input_moments(fitted, batches)["0.weight"].second[0]
    output = output_curvature(fitted, batches, cross_entropy, 1.0, draws=10)["0.weight"]
    network = copy.deepcopy(fitted)
    weight = network.get_parameter("0.weight")
    noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    noise *= 0.1 * weight.detach().abs().mean()
    changes = []
    for sign in (1, -1):
        weight.data.add_(sign * noise)
        changes.append(loss_of(network, batches) - loss_of(fitted, batches))
        weight.data.sub_(sign * noise)
    foretold = 0.5 * float((output * ((noise.double() @ second) * noise.double()).sum(1)).sum())
    assert foretold / 2.5 < sum(changes) / 2 < 2.5 * foretold


def test_bits_of_an_adaptive_coder() -> None:
    """Krichevsky and Trofimov, symbol after symbol."""
    levels = np.random.default_rng(0).integers(-2, 3, 200)
    counts, bits = np.full(5, 0.5), 0.0
    for level in levels:
        bits -= math.log2(counts[level + 2] / counts.sum())
        counts[level + 2] += 1
    assert adaptive_bits(levels) == pytest.approx(bits)
    assert adaptive_bits(np.zeros(0, np.int8)) == 0 and adaptive_bits(np.zeros(1000, np.int8)) == pytest.approx(0)


def test_a_higher_price_buys_fewer_bits_for_more_error() -> None:
    weights = torch.randn(100, 100, generator=torch.Generator().manual_seed(0))
    found = [rate_distortion(weights, 0.2, price) for price in (1e-9, 0.01, 0.03, 0.1)]
    assert np.array_equal(found[0].levels, np.rint(weights.double().numpy() / np.float64(np.float32(0.2))))
    bits = [adaptive_bits(linear.levels) for linear in found]
    errors = [float((linear.restore() - weights).square().sum()) for linear in found]
    assert bits == sorted(bits, reverse=True) and errors == sorted(errors) and bits[-1] < 0.7 * bits[0]
    for price, index in ((0.01, 1), (0.03, 2), (0.1, 3)):  # each is the best of all for its own price
        costs = [error + price * bit for error, bit in zip(errors, bits, strict=True)]
        assert costs[index] <= 1.01 * min(costs)


def test_what_matters_keeps_its_value() -> None:
    weights = torch.randn(100, 100, generator=torch.Generator().manual_seed(0))
    importance = torch.ones(100, 100)
    importance[:50] = 100
    restored = rate_distortion(weights, 0.2, 0.1, importance).restore()
    errors = (restored - weights).square()
    assert float(errors[:50].mean()) < float(errors[50:].mean()) / 3


def test_data_buys_bits(fitted: nn.Module) -> None:
    """Priced in units of the loss, with feedback, a network gets shorter than by levels alone at the same loss."""
    batches = points()
    curvature = output_curvature(fitted, batches, cross_entropy, draws=4)
    network = copy.deepcopy(fitted)
    found = quantize_by_rate(network, batches, curvature, RateOptions(3e-5))
    assert all(torch.equal(network.get_parameter(name), linear.restore()) for name, linear in found.items())
    assert not found["0.weight"].levels[:, -2:].any()  # dead inputs cost nothing
    plain, reached = copy.deepcopy(fitted), loss_of(network, batches)
    finer, needed = copy.deepcopy(fitted), math.inf
    for bits in range(8, 1, -1):
        fewer = {name: quantize_linear(weight, bits) for name, weight in prunable(fitted).items()}
        for name, linear in fewer.items():
            plain.get_parameter(name).data.copy_(linear.restore())
        if loss_of(plain, batches) <= reached:
            needed = min(needed, total_bits(fewer))
    assert total_bits(found) < 0.7 * needed
    cheap = quantize_by_rate(finer, batches, curvature, RateOptions(3e-6))
    assert total_bits(cheap) > total_bits(found) and loss_of(finer, batches) < reached


@pytest.mark.parametrize("network", [convolutional(), Residual()], ids=["groups", "depthwise"])
def test_convolutions_are_priced_too(network: nn.Module) -> None:
    batches = images()
    trained(network, batches, 15)
    before = accuracy(network, batches)
    curvature = output_curvature(network, batches, cross_entropy)
    found = quantize_by_rate(network, batches, curvature, RateOptions(1e-6))
    assert set(found) == {name for name, p in network.named_parameters() if "norm" not in name and "1." not in name}
    assert total_bits(found) < 2 * sum(linear.levels.size for linear in found.values())
    assert accuracy(network, batches) >= before - 0.05


def test_the_highest_price_that_the_floor_allows(fitted: nn.Module) -> None:
    batches = points()
    before, whole = copy.deepcopy(fitted.state_dict()), accuracy(fitted, batches)
    curvature = output_curvature(fitted, batches, cross_entropy, draws=2)
    found = [
        search_price(fitted, batches, curvature, lambda n: accuracy(n, batches), whole - drop) for drop in (0.01, 0.1)
    ]
    strict, loose = found
    assert strict and loose and strict.measured >= whole - 0.01 and loose.measured >= whole - 0.1
    assert loose.bits < strict.bits and strict.bits == total_bits(strict.schemes)
    assert accuracy(strict.network, batches) == strict.measured
    assert all(torch.equal(before[name], tensor) for name, tensor in fitted.state_dict().items())
    assert search_price(fitted, batches, curvature, lambda n: 0.0, 1.0, (5.0,)) is None


def test_prices_that_make_no_sense_are_refused() -> None:
    for attempt in (lambda: RateOptions(0.0), lambda: RateOptions(1.0, 0.0), lambda: RateOptions(math.nan)):
        with pytest.raises(InvalidArgumentError, match="price"):
            attempt()


@pytest.mark.parametrize("make", [dense, convolutional])
def test_corrected_biases_bring_mean_outputs_back(make: type) -> None:
    batches = points() if make is dense else images()
    reference = trained(make(), batches, 12)
    network = copy.deepcopy(reference)
    for weight in prunable(network).values():
        weight.add_(0.3 * weight.abs().mean())

    def mean_output(module: nn.Module) -> torch.Tensor:
        return torch.cat([module(*batch.inputs).detach() for batch in batches]).mean(0)

    expected, shifted = mean_output(reference), mean_output(network)
    assert correct_biases(network, reference, batches) == list(layers_of(network))
    assert torch.allclose(mean_output(network), expected, atol=1e-4)
    assert float((shifted - expected).abs().max()) > 0.05


def test_batch_statistics_are_those_of_the_batches() -> None:
    network, batches = convolutional(), images()
    first = nn.Sequential(network[0])
    assert reestimate_statistics(network, batches) == 1
    seen = torch.cat([first(*batch.inputs).detach() for batch in batches])
    assert torch.allclose(network.get_buffer("1.running_mean"), seen.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(network.get_buffer("1.running_var"), seen.var((0, 2, 3)), rtol=0.05)
    assert network.training and network.get_submodule("1").momentum == 0.1
    assert reestimate_statistics(dense(), []) == 0
    with pytest.raises(InvalidArgumentError, match="no batches"):
        reestimate_statistics(network, [])


@pytest.mark.parametrize("method", ["minmax", "percentile", "error", "dynamic"])
def test_eight_bits_of_activations_lose_next_to_nothing(fitted_images: nn.Module, method: str) -> None:
    batches = images()
    network = copy.deepcopy(fitted_images)
    found = quantize_activations(network, batches, ActivationOptions(8, method))
    assert set(found) == set(layers_of(network)) and all(q.dynamic == (method == "dynamic") for q in found.values())
    assert loss_of(network, batches) == pytest.approx(loss_of(fitted_images, batches), abs=0.02)
    again = copy.deepcopy(network)
    again.load_state_dict(network.state_dict())
    assert loss_of(again, batches) == loss_of(network, batches)
    with pytest.raises(InvalidArgumentError, match="already"):
        quantize_activations(network, batches, ActivationOptions())


def test_an_outlier_widens_only_the_range_that_believes_it() -> None:
    network = nn.Sequential(nn.Linear(1, 1))
    inputs = torch.rand(20000, 1, generator=torch.Generator().manual_seed(0))
    inputs[0] = 50.0
    batches = [Batch((inputs,), torch.zeros(20000))]
    highs = {
        method: float(
            quantize_activations(copy.deepcopy(network), batches, ActivationOptions(4, method, 0.999))["0.weight"].high
        )
        for method in ("minmax", "percentile", "error")
    }
    assert highs["minmax"] == 50.0 and highs["percentile"] < 1.1 and highs["error"] < 10


def test_gradients_pass_inside_the_range_and_values_are_levels() -> None:
    quantized = QuantizedInput(3, -1.0, 2.5)
    inputs = torch.linspace(-3, 5, 100, requires_grad=True)
    outputs = quantized(inputs)
    outputs.sum().backward()
    assert len(outputs.detach().unique()) == 8 and float(quantized(torch.zeros(1))) == 0.0
    assert inputs.grad is not None
    inside = (inputs > -1) & (inputs < 2.5)
    assert torch.equal(inputs.grad, inside.float())


def test_training_for_few_bits_of_weights_and_activations_beats_rounding_afterwards() -> None:
    batches, base = points(), trained(dense(), points(), 20)
    bits = uniform_bits(base.state_dict(), 2)

    def rounded(module: nn.Module) -> nn.Module:
        restored = {n: s.restore() for n, s in quantize_all(dict(module.named_parameters()), bits, "tensor").items()}
        module.load_state_dict(restored, strict=False)
        return module

    afterwards = rounded(copy.deepcopy(base))
    quantize_activations(afterwards, batches, ActivationOptions(3))
    aware = copy.deepcopy(base)
    quantize_activations(aware, batches, ActivationOptions(3))
    trained(FakeQuantized(aware, bits), batches, 40, 3e-3)
    assert loss_of(rounded(aware), batches) < loss_of(afterwards, batches)


def test_matrices_of_weights_are_views() -> None:
    layer = nn.Conv2d(4, 6, 3, groups=2)
    assert weight_matrices(layer).shape == (2, 3, 18)


class Unordered(nn.Module):
    """The first layer is defined last, one is used by none, and rows are of two dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.second, self.unused, self.first = nn.Linear(16, 4), nn.Linear(3, 3), nn.Linear(6, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.first(x.view(-1, 2, 6))).mean(1))


def test_layers_are_done_in_the_order_of_the_data_and_unused_ones_stay() -> None:
    batches, network = points(), trained(Unordered(), points(), 20)
    assert list(layers_in_order(network, batches)) == ["first.weight", "second.weight"]
    before = accuracy(network, batches)
    curvature = output_curvature(network, batches, cross_entropy)
    for change in (
        lambda n: quantize_by_rate(n, batches, curvature, RateOptions(1e-6)),
        lambda n: quantize_with_feedback(n, batches, 4),
        lambda n: prune_by_surgeon(n, batches, 0.3),
    ):
        changed = copy.deepcopy(network)
        found = change(changed)
        assert "unused.weight" not in found and next(iter(found)) == "first.weight"
        assert torch.equal(changed.get_parameter("unused.weight"), network.get_parameter("unused.weight"))
        assert accuracy(changed, batches) > before - 0.1
