"""Batches: every labelled row once an epoch, shared out fairly, in an order that the seed fixes."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mdlake.errors import CorruptError, InvalidArgumentError
from mdlake.models.batches import Batch, Share, Source, ordered_batches, steps_per_epoch, training_batches
from mdlake.models.features import FeatureSpec
from mdlake.models.shards import Unit
from tests.tiny_models import delays, shards_of, source_of, write_split


def distinct(rows: int, labelled: float = 0.9) -> pa.Table:
    """Rows whose distance is their number, so that they can be told apart."""
    missing = np.random.default_rng(1).random(rows) >= labelled
    table = delays(rows).set_column(2, "distance", pa.array(np.arange(rows, dtype=np.float64)))
    return table.set_column(4, "delay", pa.array(np.arange(rows) % 40, mask=missing))


def epoch(
    source: Source, share: Share, batch_size: int = 64, seed: int = 0, number: int = 0, rows: int = 500
) -> list[Batch]:
    steps = steps_per_epoch(source.shards, batch_size, share.world)
    return list(
        training_batches(source, share, batch_size=batch_size, steps=steps, seed=seed, epoch=number, buffer_rows=rows)
    )


def numbers(source: Source, batches: list[Batch]) -> list[int]:
    """Which rows these are."""
    assert isinstance(source.features, FeatureSpec)
    scale = source.features.numeric[0]
    values = torch.cat([batch.inputs[0][:, 0] for batch in batches]).numpy().astype(np.float64)
    return np.rint(values * scale.deviation + scale.mean).astype(int).tolist()


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return source_of(write_split(tmp_path / "train", distinct(3000, 1.0), files=3, row_group_size=700))


def test_an_epoch_sees_nearly_every_row_once(source: Source) -> None:
    seen = numbers(source, epoch(source, Share(), batch_size=50))
    assert sorted(seen) == list(range(3000))
    assert seen != sorted(seen)


@pytest.mark.parametrize("world", [2, 3])
def test_workers_share_the_rows_without_overlap(source: Source, world: int) -> None:
    shares = [numbers(source, epoch(source, Share(rank, world), 60)) for rank in range(world)]
    assert len({len(share) for share in shares}) == 1  # the same number of steps for all
    together = [row for share in shares for row in share]
    assert len(set(together)) > 0.95 * 3000
    assert len(together) - len(set(together)) < 0.05 * 3000


def test_the_seed_and_the_epoch_fix_the_order(source: Source) -> None:
    first = numbers(source, epoch(source, Share(1, 2)))
    assert numbers(source, epoch(source, Share(1, 2))) == first
    assert numbers(source, epoch(source, Share(1, 2), seed=1)) != first
    assert numbers(source, epoch(source, Share(1, 2), number=1)) != first


def test_batches_mix_files(source: Source) -> None:
    files = [row // 1000 for row in numbers(source, epoch(source, Share(), rows=3000)[:1])]
    assert set(files) == {0, 1, 2}


def test_rows_without_a_label_are_left_out(tmp_path: Path) -> None:
    table = distinct(1000, 0.7)
    source = source_of(write_split(tmp_path / "train", table))
    kept = set(np.flatnonzero(table["delay"].is_valid().to_numpy(zero_copy_only=False)).tolist())
    assert set(numbers(source, epoch(source, Share()))) <= kept
    assert set(numbers(source, list(ordered_batches(source)))) == kept


def test_ordered_batches_of_all_workers_are_the_split(source: Source) -> None:
    parts = [numbers(source, list(ordered_batches(source, Share(rank, 2)))) for rank in range(2)]
    assert sorted(parts[0] + parts[1]) == list(range(3000))
    assert numbers(source, list(ordered_batches(source))) == list(range(3000))


def test_scores_stay_beside_their_rows(tmp_path: Path) -> None:
    table = distinct(1000, 0.8)
    write_split(tmp_path / "train", table, files=2, row_group_size=150)
    write_split(
        tmp_path / "scores", pa.table({"logit": np.arange(1000, dtype=np.float32)}), files=2, row_group_size=150
    )
    source = source_of(tmp_path / "train", scores=shards_of(tmp_path / "scores"))
    for batches in (epoch(source, Share(0, 2)), list(ordered_batches(source))):
        scores = torch.cat([batch.scores for batch in batches if batch.scores is not None])
        assert scores.int().tolist() == numbers(source, batches)


def test_what_a_source_holds_is_not_taken_for_another_s(tmp_path: Path) -> None:
    """With and without scores, sent together to one process: each sees its own labels, whichever read first."""
    plain = source_of(write_split(tmp_path / "rows", delays(100), files=1))
    logits = pa.table({"logit": np.arange(100, dtype=np.float32)})
    scored = replace(plain, scores=shards_of(write_split(tmp_path / "scores", logits, files=1)))
    expected = torch.cat([batch.labels for batch in ordered_batches(plain)])
    for order in ((scored, plain), (plain, scored)):
        sent = pickle.loads(pickle.dumps(order))
        for _ in range(2):
            for source in sent:
                batches = list(ordered_batches(source))
                assert torch.equal(torch.cat([batch.labels for batch in batches]), expected)
                assert all((batch.scores is None) == (source.scores is None) for batch in batches)


def test_only_the_columns_that_are_needed_are_read(source: Source) -> None:
    assert source.columns == ["distance", "carrier", "day", "delay"]
    assert source.shards.read(Unit(0, 0), source.columns).column_names == source.columns


def test_a_shard_without_the_label_column_is_named(tmp_path: Path, source: Source) -> None:
    folder = write_split(tmp_path / "bad", distinct(10).drop_columns(["delay"]), files=1)
    bad = Source(shards_of(folder), source.features, source.task)
    with pytest.raises(InvalidArgumentError, match=r"part-00000\.parquet.*'delay'.*it has day, carrier"):
        next(ordered_batches(bad))


def test_a_split_without_any_label_is_an_error_not_a_loop(tmp_path: Path, source: Source) -> None:
    folder = write_split(tmp_path / "bad", distinct(10, 0.0))
    bad = Source(shards_of(folder), source.features, source.task)
    with pytest.raises(InvalidArgumentError, match="no row has a label"):
        epoch(bad, Share())


def test_a_damaged_shard_is_corrupt(tmp_path: Path) -> None:
    folder = write_split(tmp_path / "train", distinct(500), files=1)
    path = folder / "part-00000.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) - 40 :] = b"\0" * 40
    path.write_bytes(data)
    with pytest.raises(CorruptError, match=r"part-00000\.parquet"):
        shards_of(folder)


def test_large_row_groups_are_parted_and_small_ones_are_not(tmp_path: Path) -> None:
    pq.write_table(distinct(1000), tmp_path / "a.parquet", row_group_size=900)
    shards = shards_of(tmp_path)
    units = shards.units(10)
    assert [unit.parts for unit in units] == [9] * 9 + [1]
    rows = [row for unit in units for row in shards.read(unit, ["distance"])["distance"].to_pylist()]
    assert sorted(rows) == list(range(1000))
    assert [shards.rows_of(unit) for unit in units] == [100] * 10
