"""Pruning by each score goes for what its paper says, and training keeps to the masks."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from mdlake.errors import InvalidArgumentError
from mdlake.models.batches import Batch
from mdlake.shrink.curvature import diagonal_fisher
from mdlake.shrink.inputs import input_moments, input_rows, layers_of, weight_matrices
from mdlake.shrink.prune import apply_masks, prunable, sparsity
from mdlake.shrink.prune.magnitude import lamp_scores, magnitude_scores, threshold_masks
from mdlake.shrink.prune.masks import nonzero_masks, semi_structured_masks, shares_by_layer, top_masks
from mdlake.shrink.prune.schedule import CubicRamp, GeometricRamp, HardMasks, SoftMasks
from mdlake.shrink.prune.second_order import inverse_factor, prune_by_surgeon, surgeon
from mdlake.shrink.prune.sensitivity import damage_scores, sensitivity_scores
from tests.tiny_networks import accuracy, convolutional, dense, images, points, trained


def test_lamp_scores_are_those_of_the_paper() -> None:
    found = lamp_scores({"w": torch.tensor([[1.0, -3.0], [2.0, 0.0]])})["w"]
    assert found.flatten().tolist() == pytest.approx([1 / 14, 1.0, 4 / 13, 0.0])


def test_lamp_never_takes_the_whole_of_a_layer() -> None:
    weights = {"tiny": torch.rand(3, 3) / 1e6, "large": torch.rand(40, 40) + 1}
    masks = top_masks(lamp_scores(weights), 1 - 2 / 1609)
    assert [int(mask.sum()) for mask in masks.values()] == [1, 1]
    assert not top_masks(magnitude_scores(weights), 0.5)["tiny"].any()


def test_a_threshold_prunes_what_is_below_it() -> None:
    masks = threshold_masks({"w": torch.tensor([-0.5, 0.1, 0.2, -0.05])}, 0.2)
    assert masks["w"].tolist() == [True, False, True, False]
    with pytest.raises(InvalidArgumentError, match="threshold"):
        threshold_masks({}, math.nan)


def test_two_of_every_four_stay_and_they_are_the_best() -> None:
    scores = torch.tensor([[4.0, 1, 3, 2, 1, 1, 9, 8], [0, 0, 0, 0, 5, 6, 7, 8]])
    masks = semi_structured_masks({"w": scores})["w"]
    assert masks.view(4, 4).sum(1).tolist() == [2, 2, 2, 2]
    assert masks[0].tolist() == [True, False, True, False, False, False, True, True]
    short = semi_structured_masks({"w": torch.rand(3, 6)})["w"]
    assert short[:, 4:].all() and (short[:, :4].sum(1) == 2).all()
    assert semi_structured_masks({"w": torch.rand(4, 2, 3, 3)})["w"].shape == (4, 2, 3, 3)


def test_sensitivity_is_what_the_loss_changes_by() -> None:
    network, batches = dense(), points(100)
    scores = sensitivity_scores(network, batches, cross_entropy)["0.weight"]
    index = divmod(int(scores.argmax()), scores.shape[1])
    step, before = 1e-3, float(cross_entropy(network(*batches[0].inputs), batches[0].labels).detach())
    with torch.no_grad():
        network.get_parameter("0.weight")[index] *= 1 - step
    after = float(cross_entropy(network(*batches[0].inputs), batches[0].labels).detach())
    assert abs(after - before) / step == pytest.approx(float(scores[index]), rel=0.05)


def test_weights_on_dead_inputs_score_nothing() -> None:
    network, batches = trained(dense(), points()), points()
    for scores in (
        sensitivity_scores(network, batches, cross_entropy),
        damage_scores(network, batches, cross_entropy),
    ):
        assert not scores["0.weight"][:, -2:].any() and scores["0.weight"][:, :-2].any()
        assert "0.bias" not in scores


def test_the_fisher_diagonal_is_the_mean_of_squares_of_single_rows() -> None:
    network, (batch, *_) = convolutional().eval(), images(40)
    rows = [Batch((batch.inputs[0][i : i + 1],), batch.labels[i : i + 1]) for i in range(40)]
    expected = torch.zeros_like(network.get_parameter("5.weight"))
    for row in rows:
        loss = cross_entropy(network(*row.inputs), row.labels)
        expected += torch.autograd.grad(loss, network.get_parameter("5.weight"))[0].square() / 40
    assert torch.allclose(diagonal_fisher(network, [batch], cross_entropy)["5.weight"], expected, rtol=1e-4, atol=1e-9)


def test_measuring_leaves_the_network_as_it_was() -> None:
    network = convolutional().train()
    network[3].eval()
    before = copy.deepcopy(network.state_dict())
    input_moments(network, images(40))
    damage_scores(network, images(40), cross_entropy)
    assert network.training and network[1].training and not network[3].training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, bias=False),
        nn.Conv2d(4, 6, (3, 2), padding="same", dilation=2, bias=False),
        nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect", bias=False),
        nn.Linear(5, 3, bias=False),
    ],
)
def test_matrix_times_rows_is_what_the_layer_does(layer: nn.Conv2d | nn.Linear) -> None:
    inputs = torch.randn(2, 4, 6, 5)
    outputs = torch.einsum("gri,goi->gor", input_rows(layer, inputs), weight_matrices(layer))
    expected = layer(inputs).movedim(-1, 1) if isinstance(layer, nn.Linear) else layer(inputs)
    shape = (expected.shape[1], 2, *expected.shape[2:])
    assert torch.allclose(outputs.reshape(shape).transpose(0, 1), expected, atol=1e-5)


def test_the_surgeon_removes_one_weight_as_the_formula_says() -> None:
    """Hassibi and Stork, equation 5: dw = -w_q / [H^-1]_qq H^-1 e_q; here the first weight is the cheapest."""
    inputs = torch.randn(200, 5, generator=torch.Generator().manual_seed(1)).double()
    second = inputs.T @ inputs / 200
    weights = torch.tensor([[0.01, 1.0, -2.0, 1.5, 1.0]], dtype=torch.float64)
    pruned, mask = surgeon(weights, second, 0.2)
    inverse = torch.linalg.inv(second + 0.01 * second.diagonal().mean() * torch.eye(5))
    assert mask.tolist() == [[False, True, True, True, True]]
    assert torch.allclose(pruned, weights - weights[0, 0] / inverse[0, 0] * inverse[0])


def test_the_surgeon_keeps_outputs_closer_than_masks_alone() -> None:
    random = torch.Generator().manual_seed(2)
    inputs = (torch.randn(500, 20, generator=random) @ torch.randn(20, 160, generator=random)).double()
    inputs += torch.randn(500, 160, generator=random)
    weights = torch.randn(30, 160, generator=random).double()
    masked = weights * top_masks({"": weights.abs()}, 0.6, "layer")[""]
    pruned, mask = surgeon(weights, inputs.T @ inputs / 500, 0.6)
    assert int((~mask).sum()) == round(0.6 * weights.numel()) and not pruned[~mask].any()
    errors = [float((inputs @ (weights - other).T).square().sum()) for other in (pruned, masked)]
    assert errors[0] < errors[1] / 5


@pytest.mark.parametrize("pattern", [None, (2, 4)])
def test_the_surgeon_prunes_whole_networks(pattern: tuple[int, int] | None) -> None:
    batches = images()
    network = trained(convolutional(), batches, 12)
    plain, before = copy.deepcopy(network), accuracy(network, batches)
    masks = prune_by_surgeon(network, batches, 0.5, pattern)
    assert set(masks) == set(layers_of(network))
    assert all(not weight[~masks[name]].any() for name, weight in prunable(network).items())
    assert all(0.45 < float(mask.float().mean()) < 0.56 for mask in masks.values())
    apply_masks(plain, masks)
    assert accuracy(network, batches) >= max(accuracy(plain, batches), before - 0.05)


def test_shares_of_a_ranking_over_all_layers_are_kept() -> None:
    network = trained(dense(), points(), 10)
    ranked = top_masks(magnitude_scores(prunable(network)), 0.6)
    shares = shares_by_layer(ranked)
    masks = prune_by_surgeon(network, points(), shares)
    assert len(set(shares.values())) == 3
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {n: int(m.sum()) for n, m in ranked.items()}


def test_only_the_layers_that_are_named_are_pruned() -> None:
    network = dense()
    assert set(prune_by_surgeon(network, points(), {"2.weight": 0.5})) == {"2.weight"}
    assert bool(network.get_parameter("0.weight").all())
    with pytest.raises(InvalidArgumentError, match=r"these weights: \['9.weight'\]"):
        prune_by_surgeon(network, points(), {"9.weight": 0.5})
    with pytest.raises(InvalidArgumentError, match="no batch reached any"):
        prune_by_surgeon(network, [], 0.5)


@pytest.mark.parametrize("ramp", [CubicRamp(0.9, 100, 0.1), GeometricRamp(0.9, 100, 0.1)])
def test_ramps_go_from_first_to_last_ever_slower(ramp: CubicRamp | GeometricRamp) -> None:
    found = [ramp.at(step) for step in (0, 25, 50, 75, 100, 1000)]
    assert found == sorted(found) and found[0] == pytest.approx(0.1) and found[-2:] == pytest.approx([0.9, 0.9])
    assert found[1] - found[0] > found[4] - found[3]


def test_a_pruned_weight_that_is_needed_comes_back() -> None:
    network = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[0.1, 1.0, 1.1, 1.2]]))
    inputs = torch.randn(400, 4, generator=torch.Generator().manual_seed(0))
    masks = SoftMasks(CubicRamp(0.5, 1), every=5)
    masks.take(network, 0.25)
    assert network.weight[0, 0] == 0
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for _ in range(60):  # the first input is all that the target depends on
        masks.before_step(network)
        optimizer.zero_grad()
        (network(inputs)[:, 0] - 3 * inputs[:, 0]).square().mean().backward()
        optimizer.step()
        masks.after_step(network)
        assert int((network.weight == 0).sum()) <= 2
    hard = masks.finish(network)
    assert network.weight[0, 0] > 2 and hard.masks["weight"][0, 0] and int(hard.masks["weight"].sum()) == 2


def test_the_forward_pass_sees_the_pruned_network_at_every_step() -> None:
    masks, seen = SoftMasks(CubicRamp(0.8, 40), every=7), []

    def before(network: nn.Module) -> None:
        masks.before_step(network)
        assert all(not weight[~masks.masks[name]].any() for name, weight in prunable(network).items())
        seen.append(sparsity(network))

    batches = points()
    network = trained(dense(), batches, 15, before=before, after=masks.after_step)
    assert seen[-1] > 0.7 and any(tensor.any() for tensor in masks.hidden.values())
    hard = masks.finish(network)
    trained(network, batches, 10, before=hard.before_step, after=hard.after_step)
    weights = prunable(network)
    assert sum(int((w == 0).sum()) for w in weights.values()) == round(0.8 * sum(w.numel() for w in weights.values()))
    assert accuracy(network, batches) > 0.85


def test_masks_of_a_pruned_network_are_found_again() -> None:
    network = dense()
    masks = top_masks(magnitude_scores(prunable(network)), 0.7)
    HardMasks(masks).before_step(network)
    assert all(torch.equal(mask, nonzero_masks(network)[name]) for name, mask in masks.items())


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, math.nan])
def test_shares_that_make_no_sense_are_refused(sparsity: float) -> None:
    for attempt in (lambda: top_masks({}, sparsity), lambda: CubicRamp(sparsity, 10)):
        with pytest.raises(InvalidArgumentError, match="share"):
            attempt()
    with pytest.raises(InvalidArgumentError, match="1 step or more"):
        CubicRamp(0.5, 0)


def test_moments_that_are_noise_have_a_factor() -> None:
    noise = torch.randn(40, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for second in (torch.zeros(6, 6), 1e-18 * (noise + noise.T), torch.ones(9, 9), -1e-12 * torch.eye(5)):
        factor = inverse_factor(second, 0.0)
        assert factor.isfinite().all() and (factor.diagonal() > 0).all() and not factor.tril(-1).any()
    with pytest.raises(InvalidArgumentError, match="not finite"):
        inverse_factor(torch.full((3, 3), torch.nan))
