"""Files in an object store as a DataFrame: tasks read them through mdlake's store, by Arrow.

Columns of text files are strings, to be typed by the options, as everywhere in ingest. Each row carries the
position of its file in the listing and its number in the file: a total order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.orc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from jobs.columns import RESERVED
from jobs.ingest_options import IngestOptions
from mdlake.errors import CorruptError, InvalidArgumentError, located
from mdlake.lake.store import ObjectInfo, Store, open_object, open_store

ORDER = (f"{RESERVED}order_file", f"{RESERVED}order_row")
_BATCH_ROWS = 10_000
_HEAD = 1 << 20  # bytes of a text file to find its columns from


@dataclass(frozen=True)
class ObjectReader:
    """Called by Spark with batches of (position, path); yields the rows of those files, as `schema` has them."""

    store: Store
    format: str
    separator: str
    header: bool
    schema: pa.Schema = field(default_factory=lambda: pa.schema([]))

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for position, path in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                with located(file=self.store.url_of(path)), _faults(self.format):
                    yield from self.rows(position, path)

    def rows(self, position: int, path: str) -> Iterator[pa.RecordBatch]:
        at = 0
        for batch in _FORMATS[self.format][1](self, path):
            for start in range(0, batch.num_rows, _BATCH_ROWS):
                part = batch.slice(start, _BATCH_ROWS)
                columns = [
                    part[name].cast(kind) for name, kind in zip(self.schema.names, self.schema.types, strict=True)
                ]
                rows = range(at, at := at + part.num_rows)
                order = [pa.array([position] * part.num_rows, pa.int64()), pa.array(rows, pa.int64())]
                yield pa.record_batch([*columns, *order], names=[*self.schema.names, *ORDER])

    def schema_of(self, path: str) -> pa.Schema:
        with located(file=self.store.url_of(path)), _faults(self.format):
            return _FORMATS[self.format][0](self, path)

    def first_lines(self, path: str) -> pa.BufferReader:
        """The lines at the beginning of a text file: what names and types are found from."""
        head = self.store.get_range(path, 0, min(_HEAD, self.store.head(path).size))
        end = head.rfind(b"\n") + 1
        return pa.BufferReader(head[:end] if end else head)


def read_objects(spark: SparkSession, options: IngestOptions, files: Sequence[ObjectInfo]) -> DataFrame:
    """The rows of `files`, whose columns are those of the first."""
    if options.format not in _FORMATS:
        raise InvalidArgumentError(
            f"{options.format} files in an object store cannot be read; {', '.join(_FORMATS)} can"
        )
    store, name = open_object(options.source, options.storage)
    if [info.path for info in files] != [name]:
        store = open_store(options.source, options.storage)
    separator = options.reader.get("sep", options.reader.get("delimiter", ","))
    header = options.reader.get("header", "false").lower() == "true"
    probe = ObjectReader(store, options.format, separator, header)
    reader = replace(probe, schema=probe.schema_of(files[0].path))
    schema = from_arrow_schema(pa.schema([*reader.schema, *((name, pa.int64()) for name in ORDER)]))
    listed = spark.createDataFrame([(i, info.path) for i, info in enumerate(files)], "position long, path string")
    return listed.repartition(len(files)).mapInArrow(reader, schema)  # type: ignore[arg-type]


@contextmanager
def _faults(kind: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, KeyError) as error:
        raise CorruptError(f"cannot be read as {kind}: {error}") from error


def _csv_schema(reader: ObjectReader, path: str) -> pa.Schema:
    found = pyarrow.csv.read_csv(
        reader.first_lines(path),
        read_options=pyarrow.csv.ReadOptions(autogenerate_column_names=not reader.header),
        parse_options=pyarrow.csv.ParseOptions(delimiter=reader.separator),
    )
    return pa.schema([(name, pa.string()) for name in found.column_names])


def _csv(reader: ObjectReader, path: str) -> Iterator[pa.RecordBatch]:
    csv = pyarrow.csv
    return csv.open_csv(
        reader.store.reader(path),
        read_options=csv.ReadOptions(
            column_names=reader.schema.names, skip_rows=int(reader.header), use_threads=False, block_size=8 << 20
        ),
        parse_options=csv.ParseOptions(delimiter=reader.separator),
        convert_options=csv.ConvertOptions(
            column_types=reader.schema,
            strings_can_be_null=True,
            null_values=[""],
            quoted_strings_can_be_null=False,
        ),
    )


def _json_schema(reader: ObjectReader, path: str) -> pa.Schema:
    return pyarrow.json.read_json(reader.first_lines(path)).schema


def _json(reader: ObjectReader, path: str) -> Iterator[pa.RecordBatch]:
    parse = pyarrow.json.ParseOptions(explicit_schema=reader.schema, unexpected_field_behavior="ignore")
    return iter(pyarrow.json.read_json(reader.store.reader(path), parse_options=parse).to_batches())


def _parquet_file(reader: ObjectReader, path: str) -> pq.ParquetFile:
    return pq.ParquetFile(reader.store.reader(path), pre_buffer=False, page_checksum_verification=True)


def _orc_file(reader: ObjectReader, path: str) -> pyarrow.orc.ORCFile:
    return pyarrow.orc.ORCFile(reader.store.reader(path))


def _orc(reader: ObjectReader, path: str) -> Iterator[pa.RecordBatch]:
    file = _orc_file(reader, path)
    return (file.read_stripe(stripe) for stripe in range(file.nstripes))


_FORMATS: dict[str, tuple[Callable[..., pa.Schema], Callable[..., Iterator[pa.RecordBatch]]]] = {
    "csv": (_csv_schema, _csv),
    "json": (_json_schema, _json),
    "orc": (lambda reader, path: _orc_file(reader, path).schema, _orc),
    "parquet": (
        lambda reader, path: _parquet_file(reader, path).schema_arrow,
        lambda reader, path: _parquet_file(reader, path).iter_batches(),
    ),
}
