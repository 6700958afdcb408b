"""A teacher's outputs, written beside the shards: one Parquet file per shard, row for row.

A file of scores has the rows and the row groups of its shard, so that a reader finds the logit of a row
where the row is; rows without a label are scored too. Files are deterministic and written whole, so a task
may run twice, and a file that is there is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from mdlake.lake.store import Store
from mdlake.models.batches import SCORE
from mdlake.models.bundle import Model, load_bundle
from mdlake.models.own import LIBRARY, Own
from mdlake.models.shards import Shards

_ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class ScoreTask:
    """Score file number `file` of `shards` into the object `target` of `store`."""

    shards: Shards
    file: int
    store: Store
    target: str

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
    sink = BytesIO()
    rows, outputs = 0, model.task.outputs
    kind = pa.float32() if outputs == 1 else pa.list_(pa.field("item", pa.float32(), nullable=False), outputs)
    schema = pa.schema([pa.field(SCORE, kind, nullable=False)])
    with pq.ParquetWriter(sink, schema, compression="zstd", use_dictionary=False) as writer:
        for unit in task.shards.units_of(task.file):
            logits = logits_of(model, task.shards.read(unit, model.features.columns))
            flat = pa.array(logits.numpy().reshape(-1))
            column = flat if outputs == 1 else pa.FixedSizeListArray.from_arrays(flat, type=kind)
            writer.write_table(pa.table([column], schema=schema), row_group_size=max(1, len(logits)))
            rows += len(logits)
    task.store.put(task.target, sink.getvalue())
    return rows


@torch.no_grad()
def logits_of(model: Model, table: pa.Table) -> torch.Tensor:
    """The model's logits float32 [rows], or [rows, outputs], for a table that has the columns of its inputs."""
    outputs = model.task.outputs
    parts = [torch.zeros((0, outputs) if outputs > 1 else 0)]
    for start in range(0, table.num_rows, _ROWS_AT_ONCE):
        arrays = model.features.transform(table.slice(start, _ROWS_AT_ONCE))
        parts.append(model.module(*model.features.tensors(arrays)).float())
    return torch.cat(parts)
