"""Sequences of tokens: what a network sees are the ids of each row, and what is filled up changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import mdlake
from mdlake.artifact import artifact_bytes, parse_artifact
from mdlake.errors import CorruptError, InvalidArgumentError
from mdlake.models.batches import Source, ordered_batches
from mdlake.models.bundle import Model
from mdlake.models.inputs import inputs_from_json
from mdlake.models.networks import build_network
from mdlake.models.opening import open_shards
from mdlake.models.tasks import ClassTask
from mdlake.models.tokens import TokenSpec
from mdlake.models.training import Trainer, TrainingOptions, hard_loss
from mdlake.shrink.attempts import CompressOptions, attempts
from mdlake.shrink.compress import compress
from mdlake.shrink.stages import Data
from ray_tasks.recipe import parse_recipe

SPEC, TASK = TokenSpec("ids", 12, 20), ClassTask("label", 2)
OPTIONS = {"vocabulary": 20, "length": 12, "width": 16, "heads": 2, "layers": 1, "hidden": 24, "outputs": 2}
TRAINING = TrainingOptions(epochs=8, batch_size=64, learning_rate=5e-3, warmup_steps=5)


def sentences(rows: int, seed: int = 0) -> pa.Table:
    """Lists of 0 to 15 ids; the label says whether 3 or 7 is among the first 12."""
    random = np.random.default_rng(seed)
    ids = [random.integers(0, 20, random.integers(0, 16)).tolist() for _ in range(rows)]
    labels = [int(3 in row[:12] or 7 in row[:12]) for row in ids]
    return pa.table({"ids": pa.array(ids, pa.list_(pa.int32())), "label": pa.array(labels, pa.int8())})


def source(folder: Path, rows: int, seed: int = 0) -> Source:
    folder.mkdir()
    pq.write_table(sentences(rows, seed), folder / "a.parquet", row_group_size=200)
    return Source(open_shards(str(folder)), SPEC, TASK)


def model() -> Model:
    torch.manual_seed(0)
    return Model("encoder", OPTIONS, SPEC, TASK, build_network("encoder", OPTIONS).eval(), {"accuracy": 0.5})


@pytest.mark.parametrize("kind", [pa.list_(pa.int16()), pa.large_list(pa.uint8())])
def test_rows_are_cut_and_filled_up(kind: pa.DataType) -> None:
    rows = [[], [5], list(range(15)), [19] * 12]
    table = pa.table({"ids": pa.array([[0], *rows], kind).slice(1)})
    (found,) = SPEC.transform(table)
    assert found.dtype == np.int32 and found.shape == (4, 12)
    assert found.tolist() == [[20] * 12, [5] + [20] * 11, list(range(12)), [19] * 12]
    assert SPEC.transform(table.slice(0, 0))[0].shape == (0, 12)
    (tensor,) = SPEC.tensors([found])
    assert tensor.dtype == torch.int64
    assert inputs_from_json(SPEC.to_json()) == SPEC


@torch.no_grad()
def test_what_is_filled_up_is_not_seen() -> None:
    """A longer network with the same weights answers the same, and a row's answer is its own."""
    network = model().module
    longer = build_network("encoder", {**OPTIONS, "length": 30}).eval()
    state = {**network.state_dict(), "places.weight": torch.randn(30, 16)}
    state["places.weight"][:12] = network.state_dict()["places.weight"]
    longer.load_state_dict(state)
    (ids,) = SPEC.tensors(SPEC.transform(sentences(50)))
    filled = torch.cat([ids, torch.full((50, 18), 20)], 1)
    assert torch.allclose(longer(filled), network(ids), atol=1e-5)
    assert torch.allclose(network(ids[:1]), network(ids)[:1], atol=1e-5)
    assert torch.isfinite(network(torch.full((1, 12), 20))).all()
    assert build_network("encoder", {**OPTIONS, "outputs": 1}).eval()(ids).shape == (50,)


def test_an_encoder_is_trained_from_an_archive_made_small_and_packed(tmp_path: Path) -> None:
    train, validation = source(tmp_path / "train", 1200), source(tmp_path / "validation", 300, 1)
    mdlake.encode(tmp_path / "train", tmp_path / "archive", "fast", rows_per_block=400)
    archived = replace(train, shards=open_shards(str(tmp_path / "archive")))
    both = [torch.cat([batch.inputs[0] for batch in ordered_batches(one)]) for one in (train, archived)]
    assert torch.equal(*both)
    dense, data = model(), Data(archived, validation, hard_loss)
    list(Trainer(dense.module, archived, validation, TRAINING, hard_loss).run())
    assert data.measure(dense.module) > 0.9
    stages = [{"use": "prune", "sparsity": 0.4}, {"use": "linear", "bits": 8, "granularity": "channel"}]
    (attempt,) = attempts(CompressOptions(stages, training=replace(TRAINING, epochs=2)))
    (found,) = compress(dense, [attempt], data)
    loaded = parse_artifact(found.data)
    assert loaded.features == SPEC and data.measure(loaded.module) == found.score > 0.85
    assert len(found.data) < len(artifact_bytes(dense, effort="fast")) / 3


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([[1, 20]]), "row 0 has the token 20, but the vocabulary ends at 19"),
        (pa.array([[1], [2, -1]]), "row 1 has the token -1"),
        (pa.array([[1], None]), "null"),
        (pa.array([[1, None]]), "null"),
        (pa.array([["a"]]), "lists of integers, but the column is list<"),
        (pa.array([1]), "lists of integers, but the column is int64"),
    ],
)
def test_what_is_no_sequence_of_known_tokens_is_refused(column: pa.Array, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"column 'ids'.*{message}"):
        SPEC.transform(pa.table({"ids": column}))


def test_sizes_are_checked_and_recipes_name_tokens() -> None:
    with pytest.raises(InvalidArgumentError, match="length of token sequences is from 1"):
        TokenSpec("ids", 0, 5)
    with pytest.raises(CorruptError, match="not a specification of token sequences"):
        inputs_from_json({"tokens": "ids", "length": 4})
    with pytest.raises(InvalidArgumentError, match="a width of 10 cannot be shared among 4 heads"):
        build_network("encoder", {**OPTIONS, "width": 10, "heads": 4})
    tokens = {"column": "ids", "length": 12, "vocabulary": 20}
    recipe = parse_recipe({"label": "label", "classes": 2, "teacher": {"network": "encoder", "tokens": tokens}})
    assert recipe.teacher.seen == SPEC
    assert recipe.teacher.network_options(SPEC, 2) == {"vocabulary": 20, "length": 12}
    image = {"column": "image", "shape": [1, 2, 2]}
    with pytest.raises(InvalidArgumentError, match="leave the others out"):
        parse_recipe({"label": "l", "classes": 2, "teacher": {"network": "encoder", "tokens": tokens, "image": image}})
