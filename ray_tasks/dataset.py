"""Shards as a Ray Dataset, for whoever has a Ray program of their own: straight from an archive, or a Parquet folder.

    dataset = read_shards("s3://lake/flights", columns=["distance", "arr_delay"], storage={"region": "us-east-1"})
    batches = dataset.iter_torch_batches(batch_size=256, local_shuffle_buffer_size=4096)

Columns come as they are: images are the bytes that the archive has, to be decoded by `map_batches`.
The verbs here read shards themselves: a batch is then the same on any number of workers, which Ray's are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, groupby

import pyarrow as pa
import ray.data
from ray.data import Dataset
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from mdlake.errors import InvalidArgumentError
from mdlake.models.opening import open_shards
from mdlake.models.shards import Shards, Unit


def read_shards(
    url: str,
    columns: Sequence[str] | None = None,
    storage: Mapping[str, str] | None = None,
    *,
    blocks: int | None = None,
) -> Dataset:
    """The rows of the newest version of an archive, or of a folder of Parquet files.

    Nothing is read yet but manifests and footers. A task holds a row group, or a block row with what it was coded with,
    of these columns at a time. The order is that of the rows where the context's `execution_options.preserve_order` is
    set.

    Args:
        columns: which are read, in this order; None: all.
        storage: options of the object store, as everywhere.
        blocks: into how many the rows come, if not as many as Ray thinks right; a task reads whole row groups, which
            Ray parts where more blocks are wanted.

    Raises:
        StoreError: there is nothing at `url`, or no access.
        InvalidArgumentError: a file lacks one of the columns; or archives lie below `url`.
    """
    if isinstance(columns, str):
        raise InvalidArgumentError(f"columns are a list of names, as [{columns!r}]")
    shards = open_shards(url, storage, columns or ())
    source = ShardsDatasource(shards, shards.columns if columns is None else tuple(columns))
    return ray.data.read_datasource(source, override_num_blocks=blocks)


class ShardsDatasource(Datasource):
    """What Ray asks for: how much there is, and tasks that read it."""

    def __init__(self, shards: Shards, columns: tuple[str, ...]) -> None:
        super().__init__()
        self._shards, self._columns = shards, columns

    def get_name(self) -> str:
        return "Shards"

    def estimate_inmemory_data_size(self) -> int | None:
        """None: files tell how large they are, not what their columns will be."""
        return None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: object = None
    ) -> list[ReadTask]:
        """Runs of neighbouring row groups of about as many rows."""
        units, number, rows = self._shards.units(), max(parallelism, 1), max(self._shards.rows, 1)
        last = accumulate(map(self._shards.rows_of, units))
        runs = groupby(zip(last, units, strict=True), lambda pair: max(pair[0] - 1, 0) * number // rows)
        return [self._task([unit for _, unit in run], per_task_row_limit) for _, run in runs]

    def _task(self, units: list[Unit], limit: int | None) -> ReadTask:
        shards, columns = self._shards, self._columns

        def read() -> Iterator[pa.Table]:
            return (shards.read(unit, columns) for unit in units)

        metadata = BlockMetadata(num_rows=sum(map(shards.rows_of, units)), size_bytes=None, exec_stats=None)
        return ReadTask(read, metadata, per_task_row_limit=limit)
