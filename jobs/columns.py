"""Names and types of Spark columns, for the modules of ingest."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql import types as T

RESERVED = "__mdlake_"  # the columns that ingest adds begin with this; a source's must not

_UNORDERED = (T.MapType, T.VariantType)


def named(name: str) -> Column:
    """The column of this very name: dots and back-ticks mean nothing special."""
    return F.col("`" + name.replace("`", "``") + "`")


def is_ordered(kind: T.DataType) -> bool:
    """Whether Spark can compare, group by and hash values of the type."""
    if isinstance(kind, T.ArrayType):
        return is_ordered(kind.elementType)
    if isinstance(kind, T.StructType):
        return all(is_ordered(field.dataType) for field in kind.fields)
    return not isinstance(kind, _UNORDERED)


def comparable(field: T.StructField) -> Column:
    """The column, or its JSON where Spark can neither compare nor hash the type."""
    return named(field.name) if is_ordered(field.dataType) else F.to_json(named(field.name))


def total_order(fields: Sequence[T.StructField]) -> list[Column]:
    """Orders rows by all that tells them apart: every column, then what `0.0 = -0.0` hides."""
    floats = [field for field in fields if isinstance(field.dataType, (T.FloatType, T.DoubleType))]
    return [comparable(field) for field in fields] + [named(f.name).cast("string") for f in floats]
