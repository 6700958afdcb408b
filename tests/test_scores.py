"""A teacher's scores beside the rows: all of them, or the highest and what the others add up to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from test_images import SPEC, TASK, model, source

from mdlake.errors import CorruptError
from mdlake.lake.store import open_store
from mdlake.models.batches import ordered_batches
from mdlake.models.opening import open_shards
from mdlake.models.scores import read_scores, score_schema, score_table, whole_scores
from mdlake.models.scoring import ScoreTask, score_file
from tests.tiny_models import shards_of, write_split


def through(tmp_path: Path, logits: torch.Tensor, top: int) -> torch.Tensor:
    """Written, read and made a tensor again."""
    outputs = logits.shape[1] if logits.dim() > 1 else 1
    shards = shards_of(write_split(tmp_path, score_table(logits, score_schema(outputs, top)), files=1))
    return whole_scores(
        torch.from_numpy(np.concatenate([read_scores(shards, unit) for unit in shards.units()])), outputs
    )


@pytest.mark.parametrize("shape", [(40,), (40, 3), (40, 50)])
def test_all_scores_come_back_bit_for_bit(tmp_path: Path, shape: tuple[int, ...]) -> None:
    logits = torch.randn(shape)
    assert torch.equal(through(tmp_path, logits, 0), logits)
    assert len(shape) == 1 or torch.equal(through(tmp_path / "all", logits, shape[1] - 1), logits)


@pytest.mark.parametrize("top", [1, 5, 30])
def test_the_highest_are_exact_and_the_others_add_up(tmp_path: Path, top: int) -> None:
    logits = 4 * torch.randn(60, 50)
    found = through(tmp_path, logits, top)
    places = logits.topk(top).indices
    assert torch.equal(found.gather(1, places), logits.gather(1, places))
    kept, whole = (some.softmax(1).gather(1, places) for some in (found, logits))
    assert torch.allclose(kept, whole, atol=1e-6)  # so the others are right, together
    others = found.scatter(1, places, float("nan"))
    assert all(len(row[~row.isnan()].unique()) == 1 for row in others)


def test_a_teachers_top_scores_are_read_beside_the_shards(tmp_path: Path) -> None:
    given, teacher, store = source(tmp_path / "rows", 450), model(), open_store(str(tmp_path))
    assert score_file(teacher, ScoreTask(given.shards, 0, store, "scores/part-0.parquet", top=1)) == 450
    scored = replace(given, scores=open_shards(str(tmp_path / "scores")))
    for batch in ordered_batches(scored):
        with torch.no_grad():
            logits = teacher.module(*batch.inputs)
        assert batch.scores is not None
        scores = whole_scores(batch.scores, 3)
        assert torch.equal(scores.argmax(1), logits.argmax(1))
        assert torch.allclose(scores.softmax(1).max(1)[0], logits.softmax(1).max(1)[0], atol=1e-5)
    assert scored.features == SPEC and scored.task == TASK


def test_scores_of_other_outputs_are_refused(tmp_path: Path) -> None:
    shards = shards_of(write_split(tmp_path, score_table(torch.randn(9, 50), score_schema(50, 2)), files=1))
    with pytest.raises(CorruptError, match="the task has 3"):
        whole_scores(torch.from_numpy(read_scores(shards, shards.units()[0])), 3)
    assert pa.types.is_struct(score_schema(50, 2).field(0).type)
