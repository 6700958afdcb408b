"""Promise: a Ray Dataset of shards has the rows of the archive or the folder, in order if asked, of these columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import mdlake
from mdlake.errors import InvalidArgumentError, MdlakeError
from mdlake.models.opening import open_shards
from ray_tasks.dataset import ShardsDatasource, read_shards
from tests.tiny_models import write_split

pytestmark = pytest.mark.ray
ROWS = 2500


def rows(count: int = ROWS) -> pa.Table:
    values = np.random.default_rng(3).normal(size=count)
    values[:4] = -0.0, np.nan, np.inf, 5e-324
    lists = pa.array([[number, None] if number % 3 else None for number in range(count)], pa.list_(pa.int32()))
    names = pa.array([f"row {number}" if number % 7 else None for number in range(count)])
    return pa.table({"number": np.arange(count), "value": values, "lists": lists, "name": names})


@pytest.fixture(scope="module")
def ordered(ray_cluster: Any) -> Iterator[None]:
    from ray.data import DataContext

    options = DataContext.get_current().execution_options
    options.preserve_order = True
    yield
    options.preserve_order = False


@pytest.fixture(scope="module", params=["archive", "parquet"])
def shards(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "archive":
        mdlake.encode(rows(), folder, "fast", rows_per_block=400)
        return folder
    return write_split(folder / "split", rows())


def read(url: Path, **options: Any) -> pa.Table:
    return pa.concat_tables(read_shards(str(url), **options).iter_batches(batch_size=None, batch_format="pyarrow"))


@pytest.mark.usefixtures("ordered")
def test_all_rows_come_as_they_are(shards: Path) -> None:
    found = read(shards)
    assert found.drop(["value"]) == rows().drop(["value"])
    bits = [table["value"].to_numpy().view(np.uint64) for table in (found, rows())]
    assert np.array_equal(*bits)
    assert read(shards, columns=["name", "number"], blocks=3) == rows().select(["name", "number"])


@pytest.mark.usefixtures("ray_cluster")
def test_it_is_a_dataset_like_others(shards: Path) -> None:
    dataset = read_shards(str(shards), columns=["number"], blocks=2)
    assert dataset.count() == ROWS
    assert dataset.map_batches(lambda batch: {"twice": 2 * batch["number"]}).sum("twice") == ROWS * (ROWS - 1)
    batches = [len(batch["number"]) for batch in dataset.iter_torch_batches(batch_size=1000)]
    assert sum(batches) == ROWS and max(batches) == 1000
    assert dataset.limit(5).count() == 5


@pytest.mark.parametrize("parallelism", [1, 3, 1000])
def test_tasks_have_about_as_many_rows_each(shards: Path, parallelism: int) -> None:
    opened = open_shards(str(shards))
    tasks = ShardsDatasource(opened, ("number",)).get_read_tasks(parallelism)
    counts = [task.metadata.num_rows or 0 for task in tasks]
    assert len(tasks) == min(parallelism, len(opened.units())) and sum(counts) == ROWS
    assert max(counts) - min(counts) <= 2 * 400
    assert [sum(block.num_rows for block in task()) for task in tasks] == counts


def test_what_is_not_there_is_named(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="no such column; it has number, value, lists, name"):
        read_shards(str(shards), columns=["number", "other"])
    with pytest.raises(MdlakeError, match="nowhere"):
        read_shards(str(tmp_path / "nowhere"))


def test_a_folder_of_archives_is_not_read_as_their_files(tmp_path: Path) -> None:
    for split in ("train", "test"):
        mdlake.encode(rows(50), tmp_path / split, "fast")
    with pytest.raises(InvalidArgumentError, match=r"there is an archive below this folder: name one, as .*test"):
        read_shards(str(tmp_path))
    with pytest.raises(InvalidArgumentError, match="columns are a list of names"):
        read_shards(str(tmp_path / "test"), columns="number")
