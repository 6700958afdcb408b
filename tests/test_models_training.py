"""Training learns, repeats to the bit, continues to the bit, and says what went wrong."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from mdlake.errors import CorruptError, InvalidArgumentError, UnsupportedVersionError
from mdlake.lake.store import Store, open_store
from mdlake.models.batches import Source, ordered_batches
from mdlake.models.bundle import assign_weights, load_bundle, save_bundle
from mdlake.models.checkpoints import best_epoch, best_weights, load_checkpoint, remove_checkpoints, save_checkpoint
from mdlake.models.networks import build_network
from mdlake.models.records import find_record, fingerprint, need_record, write_record
from mdlake.models.training import Trainer, TrainingOptions, hard_loss, learning_rate, predict
from tests.tiny_models import delays, model_of, network_options, source_of, write_split

OPTIONS = TrainingOptions(epochs=4, batch_size=64, learning_rate=1e-2, warmup_steps=5, embedding_decay=0.01)


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Source, Source]:
    train = source_of(write_split(tmp_path / "train", delays(3000)))
    return train, source_of(write_split(tmp_path / "validation", delays(1000, 1)), train.features)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "lake"))


def trainer_of(sources: tuple[Source, Source], options: TrainingOptions = OPTIONS) -> Trainer:
    torch.manual_seed(options.seed)
    network = build_network("tabular_mlp", {**network_options(sources[0].features), "dropout": 0.1})
    return Trainer(network, *sources, options, hard_loss)


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_it_learns_what_there_is_to_learn(sources: tuple[Source, Source]) -> None:
    trainer = trainer_of(sources)
    before = trainer.measure().auc or 0
    history = [dict(progress.history[-1]) for progress in trainer.run()]
    assert before < 0.65
    assert history[-1]["auc"] > 0.85  # the labels' own noise keeps it from 1
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_the_same_seed_gives_the_same_bits(sources: tuple[Source, Source]) -> None:
    runs = [trainer_of(sources), trainer_of(sources), trainer_of(sources, replace(OPTIONS, seed=1))]
    for trainer in runs:
        list(trainer.run())
    assert same(weights(runs[0]), weights(runs[1]))
    assert not same(weights(runs[0]), weights(runs[2]))


def test_a_run_continued_from_a_checkpoint_ends_with_the_same_bits(
    sources: tuple[Source, Source], store: Store
) -> None:
    whole, killed, continued = trainer_of(sources), trainer_of(sources), trainer_of(sources)
    list(whole.run())
    for progress in killed.run():
        save_checkpoint(store, "model", killed, "f")
        if progress.epoch == 2:
            break
    assert load_checkpoint(store, "model", continued, "f")
    assert continued.progress.epoch == 2
    list(continued.run())
    assert same(weights(whole), weights(continued))


def test_a_checkpoint_of_other_options_is_not_continued(sources: tuple[Source, Source], store: Store) -> None:
    trainer = trainer_of(sources)
    next(trainer.run())
    save_checkpoint(store, "model", trainer, "these")
    assert not load_checkpoint(store, "model", trainer_of(sources), "those")
    with pytest.raises(CorruptError, match="another training"):
        best_weights(store, "model", "those")


def test_only_the_newest_and_the_best_checkpoint_are_kept(sources: tuple[Source, Source], store: Store) -> None:
    trainer = trainer_of(sources)
    best = weights(trainer)
    for progress in trainer.run():
        progress.history[-1]["auc"] = [0.6, 0.9, 0.7, 0.8][progress.epoch - 1]
        save_checkpoint(store, "model", trainer, "f")
        if progress.epoch == 2:
            best = weights(trainer)
    assert [info.path for info in store.list("model")] == [f"model/epoch-0000{n}.safetensors" for n in (2, 4)]
    found, history = best_weights(store, "model", "f")
    assert same(found, best) and len(history) == 4
    remove_checkpoints(store, "model")
    assert not list(store.list("model"))


def test_the_best_epoch_is_the_first_of_equals_and_loss_decides_between_equal_scores() -> None:
    rows = [(0.5, 0.8), (0.4, 0.9), (0.4, 0.9)]
    for one, other in (("auc", "accuracy"), ("accuracy", "auc")):
        found = [{"epoch": n + 1, "loss": loss, one: score, other: None} for n, (loss, score) in enumerate(rows)]
        assert best_epoch(found) == 2
        assert best_epoch([{**row, one: 0.9} for row in found]) == 2


def test_a_batch_in_parts_takes_the_steps_of_the_whole(sources: tuple[Source, Source]) -> None:
    """Sums in another order, so nearly; a batch of 64 in 3 parts has parts of 22, 22 and 20 rows."""
    torch.manual_seed(0)
    network = build_network("tabular_mlp", network_options(sources[0].features))
    ends = []
    for parts in (1, 3, 64):
        options = replace(OPTIONS, epochs=1, learning_rate=1e-3, accumulate=parts)
        trainer = Trainer(copy.deepcopy(network), *sources, options, hard_loss)
        list(trainer.run())
        ends.append((weights(trainer), trainer.progress.history[0]["train_loss"]))
    for found, loss in ends[1:]:
        assert loss == pytest.approx(ends[0][1], rel=1e-4)
        assert all(torch.allclose(found[name], ends[0][0][name], atol=2e-4) for name in found)
    with pytest.raises(InvalidArgumentError, match="1 part or more"):
        replace(OPTIONS, accumulate=0)


def test_narrow_floats_learn_as_well_and_leave_the_weights_wide(sources: tuple[Source, Source]) -> None:
    trainer = trainer_of(sources, replace(OPTIONS, precision="bfloat16"))
    seen: list[torch.dtype] = []
    trainer.network.register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    *_, last = trainer.run()
    assert last.history[-1]["auc"] > 0.85
    assert seen[0] == torch.bfloat16 and seen[-1] == torch.float32  # a step, and measuring
    assert {tensor.dtype for tensor in weights(trainer).values()} == {torch.float32}
    with pytest.raises(InvalidArgumentError, match="precision is one of auto, float32, bfloat16"):
        replace(OPTIONS, precision="half")


def test_a_loss_that_is_no_number_is_an_error_that_says_where(sources: tuple[Source, Source]) -> None:
    trainer = trainer_of(sources, replace(OPTIONS, learning_rate=1e30, warmup_steps=1))
    with pytest.raises(InvalidArgumentError, match=r"not a finite number in epoch 0.*lower learning_rate"):
        list(trainer.run())


def test_the_learning_rate_warms_up_and_falls() -> None:
    rates = [learning_rate(OPTIONS, step, 100) for step in range(100)]
    assert rates[0] < rates[4] and max(rates) == pytest.approx(OPTIONS.learning_rate, rel=0.02)
    assert all(later < earlier for earlier, later in pairwise(rates[5:]))
    assert rates[-1] < 0.02 * OPTIONS.learning_rate


def test_a_bundle_brings_the_model_back(sources: tuple[Source, Source], store: Store) -> None:
    model = model_of(sources[0].features)
    size = save_bundle(store, "model.safetensors", model)
    back = load_bundle(store, "model.safetensors")
    assert size == store.head("model.safetensors").size
    assert (back.network, back.options, back.task, back.metrics, back.lineage) == (
        *(model.network, model.options, model.task, model.metrics, model.lineage),
    )
    before = predict(model.module, ordered_batches(sources[1]))[0]
    after = predict(back.module, ordered_batches(Source(sources[1].shards, back.features, back.task)))[0]
    assert np.array_equal(before, after)


def test_a_bundle_that_is_damaged_raises(sources: tuple[Source, Source], store: Store) -> None:
    save_bundle(store, "model.safetensors", model_of(sources[0].features))
    data = store.get("model.safetensors")
    for cut in (0, 7, 100, len(data) // 2, len(data) - 1):
        store.put("cut.safetensors", data[:cut])
        with pytest.raises(CorruptError, match=r"cut\.safetensors"):
            load_bundle(store, "cut.safetensors")


def test_weights_that_do_not_fit_a_class_are_named(sources: tuple[Source, Source]) -> None:
    model = model_of(sources[0].features)
    other = build_network("tabular_mlp", {**model.options, "hidden": [16, 9]}, device="meta")
    with pytest.raises(InvalidArgumentError, match=r"layers.3.weight is \[9, 16\] in the class, but \[8, 16\]"):
        assign_weights(other, model.module.state_dict())
    with pytest.raises(InvalidArgumentError, match=r"weight is missing; .*layers\.0\.weight is not part of the class"):
        assign_weights(torch.nn.Linear(2, 2), model.module.state_dict())


def test_an_unknown_network_and_options_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UnsupportedVersionError, match=r"no network is called 'mystery'; there are .*tabular_mlp"):
        build_network("mystery", {})
    with pytest.raises(InvalidArgumentError, match=r"'tabular_mlp': .*depth"):
        build_network("tabular_mlp", {"depth": 3})
    with pytest.raises(InvalidArgumentError, match="2 categories need as many embedding widths, not 1"):
        build_network("tabular_mlp", {"numeric": 1, "cardinalities": [3, 4], "widths": [2], "hidden": [4]})


def test_records_are_found_by_fingerprint_only(store: Store) -> None:
    mark = fingerprint(a=1, b=[2, 3])
    assert mark == fingerprint(b=[2, 3], a=1) != fingerprint(a=1, b=[3, 2])
    assert find_record(store, "step/record.json", mark) is None
    record = write_record(store, "step/record.json", mark, rows=7)
    assert find_record(store, "step/record.json", mark) == record == need_record(store, "step/record.json", "score")
    assert find_record(store, "step/record.json", "other") is None
    with pytest.raises(InvalidArgumentError, match=r"run `python -m ray_tasks\.train` first"):
        need_record(store, "none.json", "train")
    store.put("step/record.json", b"{")
    with pytest.raises(CorruptError, match="not JSON"):
        find_record(store, "step/record.json", mark)


def test_an_ensemble_is_the_mean_of_members_that_learn_apart(sources: tuple[Source, Source]) -> None:
    torch.manual_seed(0)
    network = build_network("tabular_ensemble", {**network_options(sources[0].features), "members": 3})
    batch = next(ordered_batches(sources[0]))
    members, mean = network.train()(*batch.inputs), network.eval()(*batch.inputs)
    assert members.shape == (len(batch.labels), 3)
    assert torch.allclose(members.mean(dim=1), mean, atol=1e-6)
    first = [p[0] if p.dim() == 3 else p.view(len(p), 3, -1)[:, 0] for p in network.parameters()]
    sources[0].task.loss(network.train()(*batch.inputs)[:, :1], batch.labels).backward()
    for part, whole in zip(first, network.parameters(), strict=True):
        others = whole.grad[1:] if whole.dim() == 3 else whole.grad.view(len(whole), 3, -1)[:, 1:]  # type: ignore[union-attr]
        assert part.numel() and not others.any()  # one member's loss moves no other member
    trainer = Trainer(network, *sources, OPTIONS, hard_loss)
    assert [dict(progress.history[-1]) for progress in trainer.run()][-1]["auc"] > 0.85
