"""A teacher's outputs, written beside the shards: one Parquet file per shard, row for row.

A file of scores has the rows and the row groups of its shard, so that a reader finds the logit of a row
where the row is; rows without a label are scored too. Files are deterministic and written whole, so a task
may run twice, and a file that is there is done.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from mdlake.errors import InvalidArgumentError
from mdlake.lake.store import Store
from mdlake.models.bundle import Model, load_bundle
from mdlake.models.own import LIBRARY, Own
from mdlake.models.scores import score_schema, score_table
from mdlake.models.shards import Shards
from mdlake.models.tasks import logits_shape

_ROWS_AT_ONCE, _NUMBERS_AT_ONCE = 8192, 1 << 26


@dataclass(frozen=True)
class ScoreTask:
    """Score file number `file` of `shards` into the object `target` of `store`; `top`: so many outputs, 0: all."""

    shards: Shards
    file: int
    store: Store
    target: str
    top: int = 0

    @property
    def name(self) -> str:
        return self.target


@dataclass(frozen=True)
class Loader:
    """Loads a model on the worker that needs it; pickles as where it is, not as what it is."""

    store: Store
    path: str
    own: Own = LIBRARY

    def __call__(self) -> Model:
        torch.set_num_threads(1)
        return load_bundle(self.store, self.path, self.own)


def score_file(model: Model, task: ScoreTask) -> int:
    """Writes one file of scores; returns its rows."""
    sink, rows, schema = BytesIO(), 0, score_schema(model.task.outputs, task.top)
    with pq.ParquetWriter(sink, schema, compression="zstd", use_dictionary=False) as writer:
        for unit in task.shards.units_of(task.file):
            table = task.shards.read(unit, model.features.columns)
            parts = [score_table(logits, schema) for logits in _logits(model, table)]
            writer.write_table(pa.concat_tables([schema.empty_table(), *parts]), row_group_size=max(1, len(table)))
            rows += len(table)
    task.store.put(task.target, sink.getvalue())
    return rows


def logits_of(model: Model, table: pa.Table) -> torch.Tensor:
    """The model's logits float32 [rows], or [rows, outputs], for a table that has the columns of its inputs."""
    return torch.cat([torch.zeros(logits_shape(model.task, 0)), *_logits(model, table)])


@torch.no_grad()
def _logits(model: Model, table: pa.Table) -> Iterator[torch.Tensor]:
    """Of some rows at a time: at most 256 MB of them."""
    size = max(1, min(_ROWS_AT_ONCE, _NUMBERS_AT_ONCE // model.task.outputs))
    for start in range(0, table.num_rows, size):
        arrays = model.features.transform(table.slice(start, size))
        logits = model.module(*model.features.tensors(arrays)).float()
        wanted = logits_shape(model.task, len(logits))
        if logits.shape != wanted:
            found = f"it gives logits {list(logits.shape)}, the task has {list(wanted)}"
            raise InvalidArgumentError(f"{found}: train it anew with as many outputs", network=model.network)
        yield logits
