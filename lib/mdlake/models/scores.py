"""Scores, a teacher's outputs for rows: a column of a table, and an array beside the rows' others.

Of many classes a row may keep the `top` highest logits alone, as of large vocabularies, and one more number, which
stands for each of the others: the logarithm of the mean of their exponentials. At temperature 1 the softmax is then
right for each class that is kept, and for the others together.
"""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import torch

from mdlake.errors import CorruptError
from mdlake.models.shards import Shards, Unit

_COLUMN = "logit"


def score_schema(outputs: int, top: int = 0) -> pa.Schema:
    """One column: float32, or a list of all outputs, or the `top` highest logits, descending, and whose they are."""
    kind: pa.DataType = pa.float32() if outputs == 1 else _list_of(pa.float32(), outputs)
    if 0 < top < outputs - 1:
        kind = pa.struct(
            [_named("logit", _list_of(pa.float32(), top + 1)), _named("output", _list_of(pa.int32(), top))]
        )
    return pa.schema([_named(_COLUMN, kind)])


def score_table(logits: torch.Tensor, schema: pa.Schema) -> pa.Table:
    """Logits float32 [rows], or [rows, outputs], as `schema` has them."""
    kind = schema.field(_COLUMN).type
    if not pa.types.is_struct(kind):
        return pa.table([_flat(logits, kind)], schema=schema)
    values, places = logits.topk(kind.field("output").type.list_size)
    others = logits.scatter(1, places, -math.inf).logsumexp(1, keepdim=True)
    kept = torch.cat([values, others - math.log(logits.shape[1] - places.shape[1])], 1)
    parts = [_flat(part, kind[index].type) for index, part in enumerate((kept, places.int()))]
    return pa.table([pa.StructArray.from_arrays(parts, fields=list(kind))], schema=schema)


def read_scores(shards: Shards, unit: Unit) -> np.ndarray:
    """float32 [rows], or [rows, outputs]; of the top logits int32 [rows, 2 top + 1]: bits of the floats, then whose."""
    column = shards.read(unit, [_COLUMN])[_COLUMN].combine_chunks()
    if not pa.types.is_struct(column.type):
        return _array(column).astype(np.float32)
    values, places = map(_array, column.flatten())
    return np.concatenate([values.astype(np.float32).view(np.int32), places], 1)


def whole_scores(scores: torch.Tensor, outputs: int) -> torch.Tensor:
    """Logits float32 [rows], or [rows, outputs], of rows of what `read_scores` gives."""
    if scores.dtype != torch.int32:
        return scores
    top = scores.shape[1] // 2
    values, places = scores[:, : top + 1].contiguous().view(torch.float32), scores[:, top + 1 :].long()
    if places.numel() and not 0 <= int(places.min()) <= int(places.max()) < outputs:
        raise CorruptError(f"scores of outputs {int(places.min())} to {int(places.max())}; the task has {outputs}")
    return values[:, top:].repeat(1, outputs).scatter_(1, places, values[:, :top])


def _named(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


def _list_of(kind: pa.DataType, size: int) -> pa.DataType:
    return pa.list_(_named("item", kind), size)


def _flat(values: torch.Tensor, kind: pa.DataType) -> pa.Array:
    flat = pa.array(values.numpy().reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, type=kind) if pa.types.is_fixed_size_list(kind) else flat


def _array(values: pa.Array) -> np.ndarray:
    if pa.types.is_fixed_size_list(values.type):
        return values.flatten().to_numpy().reshape(len(values), values.type.list_size)
    return values.to_numpy(zero_copy_only=False)
