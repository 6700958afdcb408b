"""Pruning, quantising, distilling: each does what its paper says, and no more."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mdlake.artifact import parse_artifact
from mdlake.errors import InvalidArgumentError
from mdlake.models.batches import Batch, Source, ordered_batches
from mdlake.models.training import Trainer, TrainingOptions, hard_loss, predict
from mdlake.shrink.attempts import CompressOptions, attempts
from mdlake.shrink.aware import FakeQuantized
from mdlake.shrink.candidates import Candidate
from mdlake.shrink.compress import compress
from mdlake.shrink.distill.logits import soft_logit_loss
from mdlake.shrink.distill.loss import DistillLoss, DistillOptions, gap_closed
from mdlake.shrink.prune import PruneOptions, apply_masks, count_nonzero, magnitude_masks, prunable, sparsity
from mdlake.shrink.quantize import Weights, quantize_all, quantize_linear, search_bits, uniform_bits
from mdlake.shrink.search import Budget, choose, refine
from mdlake.shrink.stages import Data, Making
from tests.tiny_models import TASK, delays, model_of, source_of, write_split

TRAINING = TrainingOptions(epochs=3, batch_size=64, learning_rate=1e-2, warmup_steps=5, embedding_decay=0.01)


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Source, Source]:
    train = source_of(write_split(tmp_path / "train", delays(3000)))
    return train, source_of(write_split(tmp_path / "validation", delays(1000, 1)), train.features)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.9])
def test_global_pruning_takes_the_smallest_of_all(share: float) -> None:
    weights = {"small": torch.linspace(0.1, 1, 40).view(5, 8), "large": torch.linspace(1.1, 2, 60).view(6, 10)}
    masks = magnitude_masks(weights, PruneOptions(share))
    assert sum(int((~mask).sum()) for mask in masks.values()) == round(share * 100)
    kept = torch.cat([weights[name][mask] for name, mask in masks.items()])
    gone = torch.cat([weights[name][~mask] for name, mask in masks.items()])
    assert not len(gone) or gone.max() < kept.min()


def test_pruning_by_layer_takes_the_same_share_of_each() -> None:
    weights = {"small": torch.rand(5, 8) / 100, "large": torch.rand(6, 10)}
    masks = magnitude_masks(weights, PruneOptions(0.5, "layer"))
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {"small": 20, "large": 30}


def test_of_equal_weights_exactly_the_share_goes() -> None:
    assert int(magnitude_masks({"w": torch.ones(10, 10)}, PruneOptions(0.3))["w"].sum()) == 70


def test_biases_are_left_alone(sources: tuple[Source, Source]) -> None:
    network = model_of(sources[0].features).module
    apply_masks(network, magnitude_masks(prunable(network), PruneOptions(0.8)))
    assert all("bias" not in name for name in prunable(network))
    assert all(torch.count_nonzero(p) == p.numel() for name, p in network.named_parameters() if p.dim() == 1)
    total = sum(p.numel() for p in prunable(network).values())
    assert sum(int(torch.count_nonzero(p)) for p in prunable(network).values()) == total - round(0.8 * total)


def test_what_was_pruned_stays_zero_through_fine_tuning(sources: tuple[Source, Source]) -> None:
    network = model_of(sources[0].features).module
    list(Trainer(network, *sources, TRAINING, hard_loss).run())
    masks = magnitude_masks(prunable(network), PruneOptions(0.6))
    hold = partial(apply_masks, network, masks)
    hold()
    making = Making(replace(model_of(sources[0].features), module=network))
    making.tune(Data(*sources, hard_loss), TRAINING, after_step=hold)
    assert all(not p[~masks[name]].any() for name, p in prunable(network).items())
    assert sparsity(network) > 0.5
    assert max(row["auc"] for row in making.history) > 0.75


def test_fine_tuning_that_only_harms_is_undone(sources: tuple[Source, Source]) -> None:
    trainer = Trainer(model_of(sources[0].features).module, *sources, TRAINING, hard_loss)
    list(trainer.run())
    before = {name: p.clone() for name, p in trainer.network.state_dict().items()}

    def worse(task: object, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        return TASK.loss(logits, 1 - batch.labels)

    making = Making(replace(model_of(sources[0].features), module=trainer.network))
    making.tune(Data(*sources, worse), TRAINING)
    assert all(torch.equal(before[name], tensor) for name, tensor in trainer.network.state_dict().items())
    making.tune(Data(*sources, worse), TRAINING, keep_best=False)
    assert not all(torch.equal(before[name], tensor) for name, tensor in trainer.network.state_dict().items())
    assert [row["epoch"] for row in making.history] == [1, 2, 3, 4, 5, 6]


@given(
    bits=st.integers(2, 8),
    values=st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=60),
    granularity=st.sampled_from(["tensor", "channel"]),
)
def test_levels_fit_their_bits_and_zero_stays_zero(bits: int, values: list[float], granularity: str) -> None:
    tensor = torch.tensor([values, [0.0] * len(values)])
    linear = quantize_linear(tensor, bits, granularity)
    assert np.abs(linear.levels).max() <= 2 ** (bits - 1) - 1
    restored = linear.restore()
    assert restored.shape == tensor.shape and restored.dtype == torch.float32
    assert not restored[tensor == 0].any()


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_errors_are_no_larger_than_those_of_the_plain_scale(granularity: str) -> None:
    """Scales of channels have 16 bits."""
    tensor = torch.randn(16, 40, generator=torch.Generator().manual_seed(0)) * torch.logspace(-2, 0, 16)[:, None]
    for bits in (2, 4, 8):
        top = 2 ** (bits - 1) - 1
        scale = tensor.abs().max() / top
        if granularity == "channel":
            scale = (tensor.abs().amax(dim=1, keepdim=True) / top).bfloat16().float()
        plain = torch.round(tensor / scale).clamp(-top, top) * scale
        found = quantize_linear(tensor, bits, granularity).restore()
        assert float(((found - tensor) ** 2).sum()) <= float(((plain - tensor) ** 2).sum()) * (1 + 1e-6)


def test_integers_within_the_levels_come_back_exactly() -> None:
    tensor = torch.arange(-7, 8, dtype=torch.float32).view(3, 5)
    assert torch.equal(quantize_linear(tensor, 4).restore(), tensor)


def test_weights_that_are_not_finite_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="not finite"):
        quantize_linear(torch.tensor([[1.0, math.nan]]), 4)


def test_the_search_takes_bits_away_down_to_the_floor() -> None:
    weights = {"a": torch.randn(20, 20), "b": torch.randn(15, 15), "bias": torch.randn(4)}
    need = {"a": 3, "b": 5}

    def measure(restored: Weights) -> float:
        """Falls below the floor as soon as a tensor has fewer levels than it needs."""
        enough = (len(torch.unique(restored[name])) > 2 ** (bits - 1) - 1 for name, bits in need.items())
        return 1.0 if all(enough) else 0.0

    found = search_bits(weights, measure, 0.5, 8)
    assert found.bits == {"a": 3, "b": 5, "bias": 8}
    assert {name: scheme.bits for name, scheme in found.schemes.items()} == found.bits


def test_a_floor_that_cannot_be_reached_is_told_by_the_measure() -> None:
    found = search_bits({"a": torch.randn(3, 3)}, lambda restored: 0.7, 0.9, 6)
    assert (found.bits, found.score) == ({"a": 6}, 0.7)


def test_gradients_pass_rounding_and_the_forward_pass_is_that_of_the_levels(sources: tuple[Source, Source]) -> None:
    network = model_of(sources[0].features).module
    bits = uniform_bits(network.state_dict(), 3)
    seen = FakeQuantized(network, bits).eval()
    batch = next(ordered_batches(sources[1]))
    restored = model_of(sources[0].features).module
    restored.load_state_dict({n: s.restore() for n, s in quantize_all(network.state_dict(), bits, "tensor").items()})
    assert torch.allclose(seen(*batch.inputs), restored(*batch.inputs), atol=1e-6)
    seen.train()(*batch.inputs).sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    assert any(bool(p.grad.any()) for p in network.parameters() if p.grad is not None)


def test_training_for_few_bits_beats_rounding_afterwards(sources: tuple[Source, Source]) -> None:
    """At 2 bits, from the same first weights."""
    base, longer = model_of(sources[0].features), replace(TRAINING, epochs=6)
    found = []
    for bits in (2, None):
        network = copy.deepcopy(base.module)
        few = uniform_bits(network.state_dict(), 2)
        making = Making(replace(base, module=network))
        making.tune(Data(*sources, hard_loss), longer, FakeQuantized(network, few) if bits else None)
        network.load_state_dict({n: s.restore() for n, s in quantize_all(network.state_dict(), few, "tensor").items()})
        found.append(TASK.measure(*predict(network, ordered_batches(sources[1]))).auc or 0)
    assert found[0] > found[1]


def test_soft_labels_pull_towards_the_teacher_with_gradients_of_one_size() -> None:
    student, teacher = torch.zeros(1, requires_grad=True), torch.tensor([0.01])
    gradients = []
    for temperature in (1.0, 2.0, 8.0):
        student.grad = None
        soft_logit_loss(student, teacher, temperature).backward()
        assert student.grad is not None
        gradients.append(float(student.grad))
    assert gradients == pytest.approx([-0.01 / 4] * 3, rel=1e-3)  # Hinton et al., eq. 4: the logits' distance
    at_teacher = torch.tensor([1.3], requires_grad=True)
    soft_logit_loss(at_teacher, torch.tensor([1.3]), 3.0).backward()
    assert at_teacher.grad is not None and abs(float(at_teacher.grad)) < 1e-6


def test_the_mix_of_soft_and_hard_is_what_the_option_says() -> None:
    logits, batch = torch.randn(9), Batch((), (torch.rand(9) > 0.5).float(), torch.randn(9))
    assert batch.scores is not None
    hard, soft = TASK.loss(logits, batch.labels), soft_logit_loss(logits, batch.scores, 2.0)
    found = DistillLoss(DistillOptions(2.0, 0.7))(TASK, logits, batch)
    assert float(found) == pytest.approx(float(0.3 * hard + 0.7 * soft))
    assert float(DistillLoss(DistillOptions(2.0, 0.0))(TASK, logits, batch)) == pytest.approx(float(hard))


def test_distilling_without_scores_is_an_error() -> None:
    with pytest.raises(InvalidArgumentError, match="run score first"):
        DistillLoss(DistillOptions())(TASK, torch.zeros(2), Batch((), torch.zeros(2)))


def test_the_share_of_the_gap() -> None:
    assert gap_closed(0.8, 0.7, 0.75) == pytest.approx(0.5)
    assert gap_closed(0.8, 0.8, 0.9) is None


def test_compressing_keeps_the_budget_and_the_artifact_is_what_was_measured(sources: tuple[Source, Source]) -> None:
    model = model_of(sources[0].features)
    trainer = Trainer(model.module, *sources, TRAINING, hard_loss)
    list(trainer.run())
    floor = (trainer.measure().auc or 0) - 0.01
    stages = [{"use": "prune", "sparsity": 0.3}, {"use": "linear", "bits": [8, 4], "training": {"epochs": 2}}]
    options, given = CompressOptions(stages, training=TRAINING), Data(*sources, hard_loss, floor)
    found = compress(model, attempts(options), given)
    assert [candidate.name for candidate in found] == ["prune 0.3, linear 8", "prune 0.3, linear 4"]
    assert all([report.stage for report in candidate.stages] == candidate.name.split(", ") for candidate in found)
    assert all(candidate.stages[-1].score == candidate.score for candidate in found)
    best = choose(found, Budget(floor))
    assert len(best.data) == min(len(candidate.data) for candidate in found if candidate.score >= floor)
    loaded = parse_artifact(best.data)
    logits, labels = predict(loaded.module, ordered_batches(Source(sources[1].shards, loaded.features, loaded.task)))
    assert sources[1].task.measure(logits, labels).auc == best.score >= floor
    assert count_nonzero(loaded.module) == best.nonzero
    (again,) = compress(model, [best.attempt], given)
    assert again.data == best.data
    assert Candidate.from_json([best.attempt], json.loads(json.dumps(best.to_json()))) == best


def test_layers_are_explained_stage_by_stage(sources: tuple[Source, Source]) -> None:
    """What is told adds up to the network, and the score of a layer is that of the dense network with it put in."""
    model = model_of(sources[0].features)
    list(Trainer(model.module, *sources, TRAINING, hard_loss).run())
    stages = [{"use": "prune", "sparsity": 0.6, "sort": False}, {"use": "linear", "bits": [4, 8]}]
    options, data = CompressOptions(stages, training=replace(TRAINING, epochs=1)), Data(*sources, hard_loss)
    found = compress(model, attempts(options), data, explain=True)
    for candidate, bits in zip(found, ("4", "8"), strict=True):
        told = {stage: [row for row in candidate.layers if row.stage == stage] for stage in ("dense", "prune 0.6")}
        dense, last = told["dense"], [row for row in candidate.layers if row.stage == f"linear {bits}"]
        assert [row.layer for row in dense] == [row.layer for row in last]
        assert sum(row.parameters for row in dense) == sum(t.numel() for t in model.module.state_dict().values())
        assert {row.score for row in dense} == {data.measure(model.module)}
        assert sum(row.nonzero for row in told["prune 0.6"]) < 0.6 * sum(row.nonzero for row in dense)
        assert sum(row.bytes for row in last) < sum(row.bytes for row in told["prune 0.6"])
        layer = max(last, key=lambda row: row.parameters)
        probe, shrunk = copy.deepcopy(model.module), parse_artifact(candidate.data).module.get_submodule(layer.layer)
        probe.get_submodule(layer.layer).load_state_dict(shrunk.state_dict())
        assert layer.score == data.measure(probe)
        assert Candidate.from_json([candidate.attempt], json.loads(json.dumps(candidate.to_json()))) == candidate
    unasked = compress(model, [found[0].attempt], data)[0]
    assert unasked.layers == () and unasked.data == found[0].data
    cut = attempts(CompressOptions([{"use": "factorize", "share": 0.5}], training=replace(TRAINING, epochs=1)))
    assert None in {row.score for row in compress(model, cut, data, explain=True)[0].layers}


def test_no_candidate_within_the_budget_names_the_best(sources: tuple[Source, Source]) -> None:
    stages = [{"use": "prune", "sparsity": [0.5, 0.9]}, {"use": "codebook", "entries": 5}]
    options = CompressOptions(stages, training=TrainingOptions(epochs=1, batch_size=512))
    model = model_of(sources[0].features)
    found = compress(model, attempts(options), Data(*sources, hard_loss, 0.99))
    with pytest.raises(InvalidArgumentError, match=r"keeps a score of 0\.9900 .*the best was 0\.\d+ with prune 0\.\d"):
        choose(found, Budget(0.99))
    sizes = [len(candidate.data) for candidate in found]
    assert choose(found, Budget(0.99, max(sizes))).score == max(candidate.score for candidate in found)
    assert len(choose(found, Budget(0.99, min(sizes))).data) == min(sizes)
    with pytest.raises(
        InvalidArgumentError, match=rf"at most {min(sizes) - 1} bytes; the smallest has {min(sizes)} with"
    ):
        choose(found, Budget(0.99, min(sizes) - 1))


def candidate(sparsity: float, entries: int, size: int, score: float, whole: bool = True) -> Candidate:
    stages = [{"use": "prune", "sparsity": sparsity}, {"use": "codebook", "entries": entries}]
    (attempt,) = attempts(CompressOptions(stages[: 2 if whole else 1]))
    return Candidate(attempt, b"x" * size, score, 1, 1.0, (), [], (), whole)


def test_the_search_goes_half_way_to_where_the_budget_was_not_kept() -> None:
    """Along each option by itself; never back, never to what was tried."""
    kept, fewer = candidate(0.9, 8, 900, 0.98), candidate(0.9, 4, 800, 0.95)
    far, farther = candidate(0.98, 8, 500, 0.90), candidate(0.99, 8, 300, 0.80, whole=False)
    larger, other = candidate(0.8, 8, 1500, 0.94), candidate(0.98, 4, 400, 0.80)
    budget = Budget(0.97)
    found = refine([kept, fewer, far, farther, larger, other], budget)
    assert [tuple(map(str, attempt)) for attempt in found] == [
        ("prune 0.9", "codebook 6"),
        ("prune 0.94", "codebook 8"),
    ]
    tried = [kept, fewer, far, candidate(0.94, 8, 700, 0.975), candidate(0.9, 6, 850, 0.96)]
    assert [tuple(map(str, attempt)) for attempt in refine(tried, budget)] == [("prune 0.96", "codebook 8")]
    assert refine([fewer, far], budget) == [] and refine([kept], budget) == []
    assert refine([kept, candidate(0.9, 7, 850, 0.96)], budget) == []  # there is no integer between
    within = Budget(0.99, max_bytes=800)  # now the best score is wanted, and larger is what was out of reach
    assert [tuple(map(str, attempt)) for attempt in refine([fewer, kept], within)] == [("prune 0.9", "codebook 6")]


def test_a_hopeless_candidate_is_given_up_after_the_stage_that_cost_too_much(sources: tuple[Source, Source]) -> None:
    model = model_of(sources[0].features)
    list(Trainer(model.module, *sources, TRAINING, hard_loss).run())
    data = Data(*sources, hard_loss)
    data = replace(data, floor=data.measure(model.module) - 0.01)
    stages = [{"use": "prune", "sparsity": [0.3, 0.995]}, {"use": "codebook", "entries": [8, 16]}]
    tried = attempts(CompressOptions(stages, training=replace(TRAINING, epochs=1)))
    found = compress(model, tried, data, give_up=0.05)
    assert [made.name for made in found] == ["prune 0.3, codebook 8", "prune 0.3, codebook 16", "prune 0.995"]
    assert [made.whole for made in found] == [True, True, False]
    assert found[2].score < data.floor - 0.05 and not Budget(0.0).keeps(found[2])
    assert Candidate.from_json(tried, json.loads(json.dumps(found[2].to_json()))) == found[2]
    assert len(compress(model, tried[2:], data)) == 2


def test_auto_is_several_ways_through_the_stages() -> None:
    ways = {tuple(stage.use for stage in attempt) for attempt in attempts(CompressOptions("auto"))}
    assert {("rate",), ("prune", "codebook"), ("cut", "prune", "codebook"), ("factorize", "linear", "fold")} == ways
    with pytest.raises(InvalidArgumentError, match="tables, or auto, not 'best'"):
        CompressOptions("best")


def test_an_empty_split_is_refused(sources: tuple[Source, Source], tmp_path: Path) -> None:
    empty = source_of(write_split(tmp_path / "empty", delays(3).slice(0, 0), files=1), sources[0].features)
    for name, splits in (("train", (empty, sources[1])), ("validation", (sources[0], empty))):
        with pytest.raises(InvalidArgumentError, match=f"the {name} split is empty"):
            Trainer(model_of(sources[0].features).module, *splits, TRAINING, hard_loss)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], "at least one stage"),
        (
            [{"use": "shrink"}],
            "a stage uses one of prune, cut, factorize, codebook, linear, round, rate, fold, not 'shrink'",
        ),
        ([{"use": "prune", "share": 1}], "stage 'prune': prune has no 'share'; it has sparsity"),
        ([{"use": "prune", "sparsity": 1.0}], "stage 'prune': sparsity is a share"),
        ([{"use": "codebook", "entries": [4, 128]}], "from 1 to 127 entries, not 128"),
        ([{"use": "linear", "bits": 9}], "bits are from 2 to 8"),
    ],
)
def test_wrong_stages_are_refused_when_the_recipe_is_read(stages: list, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        CompressOptions(stages)
