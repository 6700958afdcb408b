"""Opens the source of an ingest as a DataFrame, with the order of its rows where it has one.

Files keep the order of their rows: (file, block, row) is a total order that does not depend on how Spark cuts
files into tasks. Tables and databases have no order. Object stores are read by tasks through mdlake's own
store, so that Spark needs no connector for them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, DataFrameReader, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from jobs.cleaning import MALFORMED
from jobs.columns import RESERVED, named
from jobs.ingest_options import IngestOptions
from jobs.objects import read_objects
from mdlake.errors import InvalidArgumentError, StoreError
from mdlake.lake.store import ObjectInfo, open_object, open_store
from mdlake.lake.url import LOCAL, parse_url

_TEXT_FORMATS = ("csv", "json")  # a line may be malformed; Spark then puts it into a column of its own
_FILE_FORMATS = (*_TEXT_FORMATS, "parquet", "orc", "text", "avro", "xml", "binaryFile")


@dataclass(frozen=True)
class Source:
    """`columns` are the source's own; `order` those that say where a row stands in it (none: anywhere)."""

    frame: DataFrame
    columns: tuple[str, ...]
    order: tuple[str, ...]


def open_source(spark: SparkSession, options: IngestOptions) -> Source:
    """Raises `InvalidArgumentError` where Spark cannot make sense of the source."""
    try:
        frame = _frame(spark, options)
        columns = tuple(name for name in frame.columns if not name.startswith(RESERVED))
        order = tuple(name for name in frame.columns if name.startswith(RESERVED + "order"))
        if order or options.format not in _FILE_FORMATS:
            return Source(frame, columns, order)
        return _in_file_order(frame, columns)
    except AnalysisException as error:
        raise InvalidArgumentError(
            f"Spark cannot read it as {options.format}: {error}", source=options.source
        ) from error


def fingerprint(options: IngestOptions) -> str | None:
    """Changes when the source's files do; None for a source whose state cannot be told from outside."""
    if options.format not in _FILE_FORMATS:
        return None
    state = [[info.path, info.size, info.modified.isoformat()] for info in source_files(options)]
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()[:16]


def source_files(options: IngestOptions) -> list[ObjectInfo]:
    """The file, or the files below the folder, that the source names; paths are relative to the folder."""
    store, name = open_object(options.source, options.storage)
    if store.exists(name):
        return [store.head(name)]
    found = [info for info in open_store(options.source, options.storage).list() if _is_data(info.path)]
    if not found:
        raise StoreError("nothing is there; check the URL", url=options.source)
    return found


def _frame(spark: SparkSession, options: IngestOptions) -> DataFrame:
    if options.format == "table":
        return spark.table(options.source)
    if options.format not in _FILE_FORMATS:
        return spark.read.format(options.format).options(**options.reader).load(options.source or None)
    if parse_url(options.source).scheme != LOCAL:
        return read_objects(spark, options, source_files(options))
    reader = spark.read.format(options.format).options(**options.reader)
    return _with_malformed(reader, options)


def _with_malformed(reader: DataFrameReader, options: IngestOptions) -> DataFrame:
    """Reads the files twice if they are text: the header for the names, then rows with what is malformed."""
    path = parse_url(options.source).url
    frame = reader.load(path)
    if options.format not in _TEXT_FORMATS or options.reader.get("mode", "PERMISSIVE").upper() != "PERMISSIVE":
        return frame
    schema = T.StructType([*frame.schema.fields, T.StructField(MALFORMED, T.StringType())])
    return reader.schema(schema).option("columnNameOfCorruptRecord", MALFORMED).load(path)


def _in_file_order(frame: DataFrame, columns: tuple[str, ...]) -> Source:
    place = {
        f"{RESERVED}order_file": F.col("_metadata.file_path"),
        f"{RESERVED}order_block": F.col("_metadata.file_block_start"),
        f"{RESERVED}order_row": F.monotonically_increasing_id(),
    }
    own = [named(name) for name in frame.columns]
    ordered = frame.select(*own, *(column.alias(name) for name, column in place.items()))
    return Source(ordered, columns, tuple(place))


def _is_data(path: str) -> bool:
    return not any(part.startswith(("_", ".")) for part in path.split("/"))
