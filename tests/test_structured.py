"""Structured pruning: modules really shrink, and answer as the whole network with those channels silenced."""

from __future__ import annotations

import copy

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.functional import cross_entropy

from mdlake.errors import InvalidArgumentError
from mdlake.models.bundle import Model
from mdlake.models.features import FeatureSpec, Numeric
from mdlake.models.latency import latency
from mdlake.models.networks import build_network
from mdlake.models.tasks import BinaryTask
from mdlake.shrink.structured.channels import Slot, Units, channel_units
from mdlake.shrink.structured.cut import choose_units, prune_to_share, remove_units
from mdlake.shrink.structured.importance import fisher_scores, norm_scores, scale_scores, taylor_scores
from mdlake.shrink.structured.macs import macs, macs_by_layer, macs_per_row
from tests.tiny_networks import CLASSES, Residual, accuracy, convolutional, dense, images, points, trained

IMAGE = (torch.randn(3, 2, 10, 10, generator=torch.Generator().manual_seed(5)),)


class Branches(nn.Module):
    """Concatenation, a layer used twice, views, and pooling as functions."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(2, 6, 1)
        self.shared = nn.Conv2d(10, 10, 1)
        self.first, self.second = nn.Linear(10 * 25, 7), nn.Linear(7, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.cat([functional.relu(self.left(x)), self.right(x)], 1)
        x = functional.max_pool2d(self.shared(self.shared(x)), 2)
        return self.second(functional.relu(self.first(x.view(x.size(0), -1))))


def silenced(network: nn.Module, units: Units, gone: np.ndarray) -> nn.Module:
    """A copy in which no layer reads the units' channels."""
    silent = copy.deepcopy(network)
    for slot, numbers in units.numbers.items():
        if slot.axis == 1:
            silent.get_parameter(f"{slot.module}.weight").data[:, torch.from_numpy(np.isin(numbers, gone))] = 0
    return silent.eval()


@pytest.mark.parametrize("make", [convolutional, Residual, Branches])
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_a_cut_network_answers_as_the_silenced_one(make: type, share: float) -> None:
    torch.manual_seed(1)
    network = make()
    network(*IMAGE)  # batch statistics that are not the ones at the start
    network.eval()
    units = channel_units(network, IMAGE)
    scores = np.random.default_rng(0).random(units.count)
    gone = choose_units(units, scores, round(share * units.count))
    silent = silenced(network, units, gone)
    sizes = {slot: len(numbers) for slot, numbers in units.numbers.items()}
    remove_units(network, units, gone)
    assert torch.allclose(network(*IMAGE), silent(*IMAGE), atol=1e-5)
    for slot, numbers in units.numbers.items():
        module = network.get_submodule(slot.module)
        left = module.get_parameter("weight").shape[slot.axis]
        assert left == sizes[slot] - int(np.isin(numbers, gone).sum()) > 0
    assert sum(p.numel() for p in network.parameters()) < sum(p.numel() for p in silent.parameters())


def test_channels_that_are_added_go_together() -> None:
    units = channel_units(Residual(), IMAGE)
    numbers = units.numbers
    for name in ("first.3", "narrow", "norm"):
        assert np.array_equal(numbers[Slot("stem", 0)], numbers[Slot(name, 0)])
    for name in ("first.0", "widen", "head"):
        assert np.array_equal(numbers[Slot("stem", 0)], numbers[Slot(name, 1)])
    assert np.array_equal(numbers[Slot("depthwise", 0)], numbers[Slot("widen", 0)])
    assert (numbers[Slot("stem", 1)] == -1).all() and (numbers[Slot("head", 0)] == -1).all()
    assert units.count == 8 + 6 + 16


def test_flattening_repeats_channels_and_grouped_convolutions_stay() -> None:
    numbers = channel_units(convolutional(), IMAGE).numbers
    assert np.array_equal(numbers[Slot("9", 1)], np.repeat(numbers[Slot("5", 0)], 4))
    assert (numbers[Slot("0", 0)] == -1).all() and (numbers[Slot("3", 0)] == -1).all()


def test_what_is_not_known_stays() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(12, 8), nn.Linear(8, 6), nn.Linear(6, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.softmax(self.a(x), 1)  # each channel depends on all
            return self.c(self.b(x).view(-1, 6))  # the code itself says how many

    network = Odd()
    units = channel_units(network, points(100)[0].inputs)
    assert units.count == 0
    remove_units(network, units, choose_units(units, np.zeros(0), 5))
    with pytest.raises(InvalidArgumentError, match="more than 50% of the macs are left"):
        prune_to_share(network, points(100)[0].inputs, norm_scores, 0.5)


def test_networks_that_cannot_be_traced_are_named() -> None:
    class Dynamic(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(InvalidArgumentError, match="cannot be traced"):
        channel_units(Dynamic(), IMAGE)


def test_norms_find_the_weak_filters() -> None:
    network = dense()
    network.get_parameter("0.weight").data[5] *= 1e-3
    units = channel_units(network, points(100)[0].inputs)
    weak = units.numbers[Slot("0", 0)][5]
    assert norm_scores(network, units, 1).argmin() == norm_scores(network, units, 2).argmin() == weak


def test_scales_of_batch_norms_rank_only_what_they_scale() -> None:
    network = Residual()
    network.get_parameter("first.1.weight").data[2] = 0.01
    units = channel_units(network, IMAGE)
    scores = scale_scores(network, units)
    assert scores.argmin() == units.numbers[Slot("first.0", 0)][2]
    assert np.isinf(scores[units.numbers[Slot("widen", 0)]]).all()
    assert not np.isin(choose_units(units, scores, 30), units.numbers[Slot("widen", 0)]).any()


@pytest.mark.parametrize("score", [taylor_scores, fisher_scores])
def test_units_that_the_loss_does_not_need_score_least(score: type) -> None:
    network, batches = trained(dense(), points(), 10), points()
    network.get_parameter("2.weight").data[:, 7] = 0
    units = channel_units(network, batches[0].inputs)
    scores = score(network, units, batches, cross_entropy)
    assert scores.argmin() == units.numbers[Slot("0", 0)][7] and scores.shape == (24 + 16,)


def test_macs_are_counted_by_hand() -> None:
    assert macs_by_layer(convolutional(), (torch.zeros(1, 2, 10, 10),)) == {
        "0.weight": 8 * 100 * 2 * 9,
        "3.weight": 8 * 25 * 2 * 9,
        "5.weight": 12 * 25 * 8,
        "9.weight": 48 * 4,
    }
    assert macs(dense(), (torch.zeros(10, 12),)) == 10 * (12 * 24 + 24 * 16 + 16 * 4)


def test_macs_of_one_row_count_every_member_of_an_ensemble() -> None:
    spec = FeatureSpec((Numeric("n", 0.0, 1.0),), {"c": pa.array(["x", "y"])}, ("c",), {})
    options = {"numeric": 1, "cardinalities": [3], "widths": [4], "hidden": [8]}
    for name, more, times in (("tabular_mlp", {}, 1), ("tabular_ensemble", {"members": 3}, 3)):
        network = build_network(name, {**options, **more})
        model = Model(name, {**options, **more}, spec, BinaryTask("d > 1"), network.eval())
        assert macs_per_row(model) == times * (5 * 8 + 8)
        assert 0 < latency(model.module, model.features.tensors(model.features.made_up(1))) < 1


@pytest.mark.parametrize("share", [0.75, 0.4])
def test_a_budget_of_macs_is_kept_and_training_makes_up_for_the_rest(share: float) -> None:
    batches = images()
    network = trained(Residual(), batches, 12)
    before, whole = accuracy(network, batches), macs(network, IMAGE)
    gone = prune_to_share(network, IMAGE, norm_scores, share)
    assert len(gone) and 0.8 * share * whole < macs(network, IMAGE) <= share * whole
    assert accuracy(trained(network, batches, 6), batches) >= before - 0.05


def test_units_that_cost_much_go_before_those_that_matter_as_little() -> None:
    """Of two layers whose units all score the same, the one with the larger inputs is cut; parameters count as well."""
    network = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 64))
    example = (torch.zeros(1, 12),)
    for of in ("macs", "parameters"):
        probe = copy.deepcopy(network)
        prune_to_share(probe, example, lambda network, units: np.ones(units.count), 0.7, of, by_cost=True)
        widths = [layer.weight.shape[0] for layer in probe if isinstance(layer, nn.Linear)]
        assert widths[0] == 16 and widths[1] < 12 and widths[2] == 64  # a unit of the second has 16 + 64 weights
        assert sum(w.numel() for w in probe.parameters() if w.dim() > 1) <= 0.7 * (12 * 16 + 16 * 16 + 16 * 64)
    with pytest.raises(InvalidArgumentError, match="macs or parameters, not 'time'"):
        prune_to_share(network, example, norm_scores, 0.5, "time")


def test_shares_of_macs_must_make_sense() -> None:
    with pytest.raises(InvalidArgumentError, match="above 0"):
        prune_to_share(dense(), points(100)[0].inputs, norm_scores, 0.0)
