"""The rules of ingest as DataFrames: typed, trimmed, bad values null, and a reason for each dropped row.

`typed` keeps every row of the source and adds what the rest of ingest needs: a flag per column that was given
a type (the value could not be read as it), the reason to drop the row if there is one, its split, and the
hash that spreads it over shards. `mark_duplicates` adds one reason more. Nothing is lost on the way, so that
rows read = rows kept + rows dropped can be asserted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql import types as T

from jobs.columns import RESERVED, comparable, named, total_order
from jobs.ingest_options import IngestOptions
from mdlake.errors import InvalidArgumentError

REASON = f"{RESERVED}reason"
BAD = f"{RESERVED}bad_"
SPLIT = f"{RESERVED}split"
SPREAD = f"{RESERVED}spread"
MALFORMED = f"{RESERVED}malformed"
DUPLICATE = "duplicate"

_HASH = f"{RESERVED}hash"
_RANK = f"{RESERVED}rank"
_BUCKETS = 1_000_000
_INTEGERS = (T.ByteType, T.ShortType, T.IntegerType, T.LongType)
_FRACTIONS = (T.FloatType, T.DoubleType, T.DecimalType)


def typed(frame: DataFrame, columns: Sequence[str], order: Sequence[str], options: IngestOptions) -> DataFrame:
    """`columns` by the rules of the options, `order` as it is, and `BAD` flags, `REASON`, `SPLIT`, `SPREAD`.

    The split (its position in the options) depends on the row's key alone: bucket = xxhash64(key columns,
    seed 42) mod 1,000,000, and the splits take their shares of the buckets in turn. New rows never move old
    ones.
    """
    unknown = {*options.types, *options.required, *options.key, *options.sort} - set(columns)
    if unknown:
        raise InvalidArgumentError(f"the source has no column {sorted(unknown)}; it has {list(columns)}")
    values, flags = _values(frame, columns, options)
    malformed = MALFORMED if MALFORMED in frame.columns else None
    extra = [named(name) for name in (*order, malformed) if name]
    rows = frame.select(*values, *extra, *flags)
    rows = rows.withColumn(REASON, _reason(options, malformed)).drop(MALFORMED)
    everything, keys = _identity(rows, columns, options)
    bucket = F.pmod(F.xxhash64(*keys), F.lit(_BUCKETS))
    return rows.withColumns({SPLIT: _split(bucket, options), SPREAD: F.xxhash64(*everything)})


def mark_duplicates(rows: DataFrame, columns: Sequence[str], order: Sequence[str], options: IngestOptions) -> DataFrame:
    """Of equal rows, or rows of equal key, the first in the total order stays; the others get a reason.

    Only rows whose 64-bit hash occurs twice are compared, so that a source without duplicates is not sorted.
    """
    if options.duplicates == "keep":
        return rows
    everything, keys = _identity(rows, columns, options)
    same = keys if options.duplicates == "drop-by-key" else everything
    candidates = rows.where(named(REASON).isNull()).groupBy(F.xxhash64(*same).alias(_HASH))
    repeated = candidates.count().where("count > 1").select(_HASH)
    if repeated.isEmpty():
        return rows
    hashed = rows.withColumn(_HASH, F.xxhash64(*same))
    fields = [field for field in rows.schema.fields if field.name in columns]
    window = Window.partitionBy(named(REASON), named(_HASH), *same).orderBy(*ordering(fields, order, ()))
    doubtful = hashed.join(repeated, _HASH, "left_semi").withColumn(_RANK, F.row_number().over(window))
    reason = F.coalesce(named(REASON), F.when(named(_RANK) > 1, DUPLICATE))
    marked = doubtful.withColumn(REASON, reason).drop(_RANK)
    return hashed.join(repeated, _HASH, "left_anti").unionByName(marked).drop(_HASH)


@dataclass(frozen=True)
class Counts:
    """Rows by what became of them: kept ones by split, dropped ones by reason; and bad values by column."""

    kept: Mapping[int, int]
    dropped: Mapping[str, int]
    bad_values: Mapping[str, int]

    @property
    def read(self) -> int:
        return sum(self.kept.values()) + sum(self.dropped.values())


def counts(rows: DataFrame) -> Counts:
    """Counts the rows of `mark_duplicates`; one pass."""
    flags = [name for name in rows.columns if name.startswith(BAD)]
    bad = [F.count_if(named(name)).alias(name) for name in flags]
    kept, dropped, bad_values = Counter(), Counter(), Counter()
    for row in rows.groupBy(REASON, SPLIT).agg(F.count(F.lit(1)).alias("rows"), *bad).collect():
        if row[REASON] is None:
            kept[row[SPLIT]] += row["rows"]
        else:
            dropped[row[REASON]] += row["rows"]
        bad_values.update({name.removeprefix(BAD): row[name] for name in flags})
    return Counts(kept, dropped, bad_values)


def ordering(fields: Sequence[T.StructField], order: Sequence[str], sort: Sequence[str]) -> list[Column]:
    """A total order of rows: by `sort`, then by their place in the source, or all columns if it has none."""
    by_name = {field.name: field for field in fields}
    first = [comparable(by_name[name]) for name in sort]
    return first + ([named(name) for name in order] or total_order(fields))


def _identity(rows: DataFrame, columns: Sequence[str], options: IngestOptions) -> tuple[list[Column], list[Column]]:
    """What makes a row itself: all columns, and those of its key (all of them where no key is named)."""
    fields = [field for field in rows.schema.fields if field.name in columns]
    everything = [comparable(field) for field in fields]
    return everything, [comparable(field) for field in fields if field.name in options.key] or everything


def _values(frame: DataFrame, columns: Sequence[str], options: IngestOptions) -> tuple[list[Column], list[Column]]:
    """The columns as wanted, and for each that is given a type whether its value was bad."""
    fields = {field.name: field for field in frame.schema.fields}
    values: list[Column] = []
    flags: list[Column] = []
    for name in columns:
        plain = value = _plain(fields[name], options)
        if name in options.types:
            value = _exact_cast(plain, fields[name].dataType, options.types[name])
            flags.append((plain.isNotNull() & value.isNull()).alias(BAD + name))
        values.append(value.alias(name))
    return values, flags


def _plain(field: T.StructField, options: IngestOptions) -> Column:
    """The value as the source means it: trimmed, and null where it is spelt as null."""
    value = named(field.name)
    if not isinstance(field.dataType, T.StringType):
        return value
    if options.trim:
        value = F.trim(value)
    return F.when(~value.isin(list(options.nulls)), value) if options.nulls else value


def _exact_cast(value: Column, found: T.DataType, wanted: str) -> Column:
    """The value as type `wanted`, null where it cannot be read as it or would lose its fraction."""
    result = value.try_cast(wanted)
    if isinstance(found, _FRACTIONS) and isinstance(T.DataType.fromDDL(wanted), _INTEGERS):
        return F.when(result.cast(found) == value, result)
    return result


def _reason(options: IngestOptions, malformed: str | None) -> Column:
    reason = F.lit(None).cast("string")
    for name in reversed(options.required):
        reason = F.when(named(name).isNull(), f"no {name}").otherwise(reason)
    return F.when(named(malformed).isNotNull(), "malformed").otherwise(reason) if malformed else reason


def _split(bucket: Column, options: IngestOptions) -> Column:
    position, ends, total = F.lit(len(options.split) - 1), [], 0.0
    for share in options.split.values():
        total += share
        ends.append(round(total * _BUCKETS))
    for index in reversed(range(len(ends) - 1)):
        position = F.when(bucket < ends[index], index).otherwise(position)
    return position.cast("int")
