"""A profile of every column: how many values, which range, and how many bits each tells.

Two passes whatever the number of columns: one aggregates counts and ranges, the other unpivots the columns'
64-bit hashes and counts each value, for distinct values and entropy. The second is bounded: above
`profile_rows` rows it sees a sample, chosen by the rows' hashes, and distinct values are then estimated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from jobs.cleaning import SPREAD
from jobs.columns import RESERVED, comparable, is_ordered, named

_TEXT = 256  # characters kept of a minimum or maximum


def profile(frame: DataFrame, fields: Sequence[T.StructField], rows: int, limit: int) -> list[dict]:
    """Rows of the statistics' kind `profile`, without dataset and bad values, in the order of `fields`."""
    every = max(1, math.ceil(rows / limit))
    sample = frame if every == 1 else frame.where(F.pmod(named(SPREAD), F.lit(every)) == 0)
    ranges = frame.agg(*[item for i, field in enumerate(fields) for item in _ranges(i, field, every)]).first()
    assert ranges is not None  # an aggregate without groups has exactly one row
    spread = _spread(sample, fields)
    sampled = rows if every == 1 else sample.count()
    return [
        {
            "column": field.name,
            "position": i,
            "type": field.dataType.simpleString(),
            "rows": rows,
            "nulls": rows - ranges[f"{i}_count"],
            "distinct": spread.get(i, (0, 0.0))[0] if every == 1 else ranges[f"{i}_distinct"],
            "min": ranges[f"{i}_min"],
            "max": ranges[f"{i}_max"],
            "entropy": spread.get(i, (0, 0.0))[1],
            "profiled_rows": sampled,
        }
        for i, field in enumerate(fields)
    ]


def _ranges(position: int, field: T.StructField, every: int) -> list[Column]:
    column = named(field.name)
    nothing = F.lit(None).cast("string")
    ordered = is_ordered(field.dataType)
    items = [
        F.count(column).alias(f"{position}_count"),
        (_text(F.min(column), field) if ordered else nothing).alias(f"{position}_min"),
        (_text(F.max(column), field) if ordered else nothing).alias(f"{position}_max"),
    ]
    if every > 1:
        items.append(F.approx_count_distinct(comparable(field)).alias(f"{position}_distinct"))
    return items


def _text(value: Column, field: T.StructField) -> Column:
    plain = F.hex(value) if isinstance(field.dataType, T.BinaryType) else value.cast("string")
    return F.substring(plain, 1, _TEXT)


def _spread(frame: DataFrame, fields: Sequence[T.StructField]) -> dict[int, tuple[int, float]]:
    """Distinct values (null not counted) and entropy in bits (null counted) by position of the column."""
    if not fields:
        return {}
    column, value, rows = RESERVED + "column", RESERVED + "value", RESERVED + "rows"
    hashes = [
        F.when(comparable(field).isNotNull(), F.xxhash64(comparable(field))).alias(str(i))
        for i, field in enumerate(fields)
    ]
    long = frame.select(*hashes).unpivot([], [named(str(i)) for i in range(len(fields))], column, value)
    counted = long.groupBy(column, value).agg(F.count(F.lit(1)).alias(rows))
    summed = counted.groupBy(column).agg(
        F.count(named(value)).alias("distinct"),
        F.sum(rows).alias("total"),
        F.sum(named(rows) * F.log2(named(rows))).alias("weighted"),
    )
    return {
        int(row[column]): (
            row["distinct"],
            max(0.0, math.log2(row["total"]) - row["weighted"] / row["total"]),
        )
        for row in summed.collect()
    }
