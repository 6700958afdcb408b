"""Augmented images are the same images, moved as far as was allowed, and training sees them and nothing else does."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_images import TRAINING, model, source

from mdlake.errors import InvalidArgumentError
from mdlake.lake.store import open_store
from mdlake.models.augment import Augment
from mdlake.models.batches import ordered_batches
from mdlake.models.checkpoints import best_weights, load_checkpoint, save_checkpoint
from mdlake.models.networks import build_network
from mdlake.models.training import BESIDE, Trainer, TrainingOptions, hard_loss
from mdlake.shrink.distill.loss import DistillLoss, DistillOptions
from mdlake.shrink.distill.watched import FeatureOptions


def dots(height: int = 16, width: int = 24) -> torch.Tensor:
    """64 images of two channels, each with a soft dot near the middle; the second channel is the first negative."""
    rows, columns = torch.arange(height) - height / 2 + 0.5, torch.arange(width) - width / 2 + 0.5
    dot = torch.exp(-((rows[:, None] - 2) ** 2 + (columns - 4) ** 2) / 4)
    return torch.stack([dot, -dot]).repeat(64, 1, 1, 1)


def middle(images: torch.Tensor) -> torch.Tensor:
    """Where the dot is, [rows, 2] of row and column from the middle."""
    dot = images[:, 0]
    axes = [torch.arange(size) - size / 2 + 0.5 for size in dot.shape[1:]]
    total = dot.sum((1, 2))
    return torch.stack([(dot.sum(2) * axes[0]).sum(1) / total, (dot.sum(1) * axes[1]).sum(1) / total], 1)


def test_nothing_asked_for_changes_nothing() -> None:
    images = dots()
    assert torch.allclose(Augment()(images), images, atol=1e-5)


@given(st.integers(0, 3), st.integers(0, 1 << 30))
def test_a_shift_moves_the_whole_image_by_at_most_so_many_pixels(pixels: int, seed: int) -> None:
    torch.manual_seed(seed)
    moved = middle(Augment(shift=pixels)(dots())) - torch.tensor([2.0, 4.0])
    assert float(moved.abs().max()) <= pixels + 0.05
    assert not pixels or float(moved.abs().max(0).values.min()) > pixels / 2  # of 64, some go far, both ways


def test_a_turn_keeps_distances_also_where_an_image_is_no_square() -> None:
    torch.manual_seed(0)
    places = middle(Augment(rotate=40)(dots()))
    assert torch.allclose(places.norm(dim=1), torch.tensor(20.0).sqrt(), atol=0.1)
    angles = torch.atan2(places[:, 0], places[:, 1]) - torch.atan2(torch.tensor(2.0), torch.tensor(4.0))
    assert 0.5 < float(angles.abs().max()) <= 0.71


def test_a_mirrored_image_is_exactly_the_mirrored_one_or_the_image() -> None:
    torch.manual_seed(0)
    images = dots()
    found = Augment(flip=True)(images)
    mirrored = torch.isclose(found, images.flip(3), atol=1e-5).flatten(1).all(1)
    assert (mirrored ^ torch.isclose(found, images, atol=1e-5).flatten(1).all(1)).all()
    assert 10 < int(mirrored.sum()) < 54


def test_sizes_change_by_their_share_and_the_border_is_repeated() -> None:
    torch.manual_seed(0)
    places = middle(Augment(scale=0.2)(dots())).norm(dim=1) / 20**0.5
    assert 1 / 1.21 <= float(places.min()) < 0.95 and 1.05 < float(places.max()) <= 1 / 0.79
    assert torch.equal(Augment(shift=9, rotate=30, shear=20)(torch.ones(4, 3, 8, 8)), torch.ones(4, 3, 8, 8))


def test_what_is_no_image_or_no_amount_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"only images can be augmented, not inputs of shape \[5\]"):
        Augment(shift=1)(torch.zeros(3, 5))
    for wrong in ({"shift": -1}, {"scale": 1.0}, {"shear": 90}):
        with pytest.raises(InvalidArgumentError, match="0 or more"):
            Augment(**wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="zoom"):
        TrainingOptions(augment={"zoom": 2})  # type: ignore[arg-type]


def test_training_learns_from_augmented_images_and_measures_on_plain_ones(tmp_path: Path) -> None:
    train, validation = source(tmp_path / "train", 900), source(tmp_path / "validation", 300, 1)
    options = replace(TRAINING, augment=Augment(shift=1, flip=True))
    ends = []
    for _ in range(2):
        network = model()
        trainer = Trainer(network.module, train, validation, options, hard_loss)
        *_, last = trainer.run()
        assert last.history[-1]["accuracy"] == trainer.measure().accuracy
        ends.append(last.history[-1])
    assert ends[0]["accuracy"] > 0.6
    assert {key: ends[0][key] for key in ends[0] if key != "seconds"} == {
        key: ends[1][key] for key in ends[1] if key != "seconds"
    }


def test_a_teacher_of_augmented_images_is_asked_anew(tmp_path: Path) -> None:
    """Scores that were stored are of other images, and that is said; asked, the teacher sees what the student sees."""
    train, validation = source(tmp_path / "train", 300), source(tmp_path / "validation", 100, 1)
    options = replace(TRAINING, epochs=1, augment=Augment(shift=1))
    stored = replace(train, scores=train.shards)
    with pytest.raises(InvalidArgumentError, match="asked = true"):
        Trainer(model().module, stored, validation, options, DistillLoss(DistillOptions()))
    teacher, seen, taught = model(1).module, [], []
    teacher.register_forward_hook(lambda module, args, output: taught.append(args[0]))
    student = model().module
    student.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    trainer = Trainer(student, train, validation, options, DistillLoss(DistillOptions(), teacher))
    list(trainer.run())
    assert taught and all(torch.equal(one, other) for one, other in zip(taught, seen, strict=False))


@pytest.mark.parametrize("kind", ["hard", "decoupled"])
def test_other_losses_of_distillation_are_an_option(tmp_path: Path, kind: str) -> None:
    train, validation = source(tmp_path / "train", 900), source(tmp_path / "validation", 300, 1)
    teacher = model()
    list(Trainer(teacher.module, train, validation, TRAINING, hard_loss).run())
    student = model()
    options = DistillOptions(temperature=2.0, kind=kind, others=1.0)
    longer = replace(TRAINING, epochs=8)
    *_, last = Trainer(student.module, train, validation, longer, DistillLoss(options, teacher.module)).run()
    assert last.history[-1]["accuracy"] > 0.8  # chance is a third
    with pytest.raises(InvalidArgumentError, match="one of soft, hard, decoupled"):
        replace(options, kind="softer")


def until(trainer: Trainer, epoch: int, keep: Callable[[], None] = lambda: None) -> None:
    """Trains, and stops before the training is over: what was put beside the network and watched is there still."""
    for progress in trainer.run():
        keep()
        if progress.epoch == epoch:
            return


NARROW = {"size": 16, "filters": [3, 5], "hidden": 8, "outputs": 3}


def hinted(teacher: torch.nn.Module, pairs: tuple[tuple[str, str], ...], weight: float = 10.0) -> DistillLoss:
    return DistillLoss(DistillOptions(soft=0.0, asked=True, features=FeatureOptions("hint", pairs, weight)), teacher)


def test_hints_between_widths_are_learnt_and_thrown_away(tmp_path: Path) -> None:
    """The map is in the checkpoints, so that a killed run goes on to the same bits, and not in the network."""
    splits = source(tmp_path / "train", 300), source(tmp_path / "validation", 100, 1)
    teacher, store = model().module, open_store(str(tmp_path / "lake"))

    def trained(name: str, weight: float, stop: int = TRAINING.epochs) -> tuple[Trainer, DistillLoss]:
        torch.manual_seed(3)
        loss = hinted(teacher, (("conv1", "conv1"), ("hidden", "hidden")), weight)
        trainer = Trainer(build_network("lenet_5", NARROW), *splits, TRAINING, loss)
        load_checkpoint(store, name, trainer, "f")
        until(trainer, stop, partial(save_checkpoint, store, name, trainer, "f"))
        return trainer, loss

    def apart(trainer: Trainer, loss: DistillLoss, weight: float) -> float:
        for network in (trainer.network.eval(), teacher):
            network(*next(iter(ordered_batches(splits[1]))).inputs)
        return float(loss._pairs[0].loss().detach()) / weight

    trained("killed", 10.0, stop=1)
    off, (trainer, loss), (again, other) = trained("off", 1e-6), trained("whole", 10.0), trained("killed", 10.0)
    assert apart(trainer, loss, 10.0) < 0.7 * apart(*off, 1e-6)
    assert apart(trainer, loss, 10.0) == apart(again, other, 10.0)
    (weights, rows), (same, found) = (best_weights(store, name, "f") for name in ("whole", "killed"))
    assert [row["train_loss"] for row in rows] == [row["train_loss"] for row in found]
    assert weights.keys() == build_network("lenet_5", NARROW).state_dict().keys()
    assert all(torch.equal(weights[name], same[name]) for name in weights)
    list(trainer.run())
    assert not hasattr(trainer.network, BESIDE) and not loss._pairs and pickle.dumps(trainer.network)


def test_what_cannot_be_hinted_at_is_told(tmp_path: Path) -> None:
    splits, teacher = (source(tmp_path / "train", 300), source(tmp_path / "validation", 100, 1)), model().module
    alone = torch.nn.Sequential(OrderedDict(conv1=torch.nn.Conv2d(1, 3, 3), rest=torch.nn.Flatten()))
    with pytest.raises(InvalidArgumentError, match=r"beside an nn\.Sequential"):
        Trainer(alone, *splits, TRAINING, hinted(teacher, (("conv1", "conv1"),)))
    with pytest.raises(InvalidArgumentError, match=r"as many dimensions, not \[2, 6, .* and \[2, 12\]"):
        Trainer(model().module, *splits, TRAINING, hinted(teacher, (("conv2", "hidden"),)))


@pytest.mark.parametrize("kind", ["attention", "relation", "hint"])
def test_inner_layers_are_compared_where_the_recipe_says_so(tmp_path: Path, kind: str) -> None:
    """The student's features come near the teacher's, and a student that has none to compare is told so."""
    train, validation = source(tmp_path / "train", 300), source(tmp_path / "validation", 100, 1)
    teacher = model().module
    names = [name for name, layer in teacher.named_modules() if isinstance(layer, torch.nn.Conv2d)]
    options = {"kind": kind, "pairs": [[name, name] for name in names], "weight": 10.0}
    apart = []
    for weight in (1e-6, 10.0):
        loss = DistillLoss(DistillOptions(soft=0.0, asked=True, features={**options, "weight": weight}), teacher)  # type: ignore[arg-type]
        student = model(2)
        trainer = Trainer(student.module, train, validation, TRAINING, loss)
        until(trainer, TRAINING.epochs)
        images = next(iter(ordered_batches(validation))).inputs
        for network in (student.module, teacher):
            network(*images)
        apart.append(float(loss._pairs[0].loss().detach()) / weight)
    assert apart[1] < 0.7 * apart[0]
    with pytest.raises(InvalidArgumentError, match=r"the network has no submodules \['nix'\]; it has"):
        wrong = DistillOptions(asked=True, features={**options, "pairs": [["nix", names[0]]]})  # type: ignore[arg-type]
        Trainer(model().module, train, validation, TRAINING, DistillLoss(wrong, teacher))
    with pytest.raises(InvalidArgumentError, match="set asked = true"):
        DistillOptions(features=options)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="compared by hint, attention, relation"):
        DistillOptions(asked=True, features={**options, "kind": "looks"})  # type: ignore[arg-type]
