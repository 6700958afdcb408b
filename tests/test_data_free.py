"""A student learns from a teacher that has no data any more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from test_images import SHAPE, SPEC, TASK, TRAINING, model, source

from mdlake.errors import InvalidArgumentError
from mdlake.lake.store import open_store
from mdlake.models.batches import Source, ordered_batches
from mdlake.models.checkpoints import best_weights, load_checkpoint, save_checkpoint
from mdlake.models.training import Trainer, hard_loss, predict
from mdlake.shrink.distill.data_free import DataFreeOptions, Generator, distill_without_data
from mdlake.shrink.distill.data_free_training import DataFreeTraining
from tests.tiny_models import delays, shards_of, source_of, write_split


def test_a_student_learns_what_no_row_shows_it(tmp_path: Path) -> None:
    """From noise alone; the teacher stays as it was, and the same seed gives the same bits."""
    train, validation = source(tmp_path / "train", 900), source(tmp_path / "validation", 300, 1)
    teacher = model().module
    list(Trainer(teacher, train, validation, TRAINING, hard_loss).run())
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    student, options = model(2).module, DataFreeOptions(rounds=250, batch_size=48, width=12)
    *_, last = distill_without_data(student, teacher, SHAPE, options)
    assert last > 0 and not student.training
    assert TASK.measure(*predict(student, ordered_batches(validation))).accuracy > 0.55  # chance is a third
    short = replace(options, rounds=5)
    runs = [list(distill_without_data(model(2).module, teacher, SHAPE, short)) for _ in range(2)]
    assert runs[0] == runs[1]
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    assert all(parameter.requires_grad for parameter in teacher.parameters())


def test_a_killed_training_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    """Generator and both rates are in its checkpoints; the weights in the end are the student's alone."""
    validation, store = source(tmp_path / "validation", 100, 1), open_store(str(tmp_path / "lake"))
    options = DataFreeOptions(rounds=5, every=2, batch_size=16, width=4)
    ends = []
    for name, stops in (("whole", (3,)), ("killed", (1, 3))):
        for stop in stops:
            training = DataFreeTraining(model(2).module, model().module, validation, options)
            load_checkpoint(store, name, training, "f")
            for progress in training.run():
                save_checkpoint(store, name, training, "f")
                if progress.epoch == stop:
                    break
        weights, history = best_weights(store, name, "f")
        ends.append((weights, [{key: row[key] for key in row if key != "seconds"} for row in history]))
    assert ends[0][1] == ends[1][1] and [row["step"] for row in ends[0][1]] == [10, 20, 25]
    assert ends[0][0].keys() == model().module.state_dict().keys() == ends[1][0].keys()
    assert all(torch.equal(ends[0][0][name], ends[1][0][name]) for name in ends[0][0])
    columns = source_of(write_split(tmp_path / "columns", delays(30)))
    with pytest.raises(InvalidArgumentError, match="only images can be made up"):
        DataFreeTraining(model().module, model().module, columns, options)
    table = pa.table({"image": [b"0" * 256] * 9, "label": pa.nulls(9, pa.int64())})
    unlabelled = Source(shards_of(write_split(tmp_path / "unlabelled", table)), SPEC, TASK)
    with pytest.raises(InvalidArgumentError, match="no row with a label"):
        DataFreeTraining(model().module, model().module, unlabelled, options)
    with pytest.raises(InvalidArgumentError, match="whole numbers"):
        DataFreeOptions(rounds=10.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (2, 9, 14)])
def test_made_up_images_have_the_teachers_shape_and_scale(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    images = Generator(20, 8, shape)(torch.randn(64, 20))
    assert images.shape == (64, *shape)
    assert torch.allclose(images.mean((0, 2, 3)), torch.zeros(shape[0]), atol=1e-4)
    assert torch.allclose(images.std((0, 2, 3)), torch.ones(shape[0]), atol=0.05)


def test_different_logits_and_wrong_options_are_refused() -> None:
    wide = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 4))
    with pytest.raises(InvalidArgumentError, match=r"student and teacher are \[16, 3\] and \[16, 4\]"):
        next(distill_without_data(model().module, wide, SHAPE, DataFreeOptions(batch_size=16, width=4)))
    assert all(parameter.requires_grad for parameter in wide.parameters())
    with pytest.raises(InvalidArgumentError, match="1 or more"):
        DataFreeOptions(rounds=0)
    with pytest.raises(InvalidArgumentError, match="rates"):
        DataFreeOptions(generator_rate=0.0)
