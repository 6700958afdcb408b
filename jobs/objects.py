"""Files in an object store as a DataFrame: tasks read them through mdlake's store, by Arrow.

Columns of text files are strings, to be typed by the options, as everywhere in ingest. Each row carries the
position of its file in the listing and its number in the file: a total order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class ObjectReader:
    """Called by Spark with batches of (position, path); yields the rows of those files."""

    store: Store
    format: str
    separator: str
    header: bool
    schema: pa.Schema | None

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for position, path in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield from self.rows(position, path)

    def rows(self, position: int, path: str) -> Iterator[pa.RecordBatch]:
        at = 0
        for batch in self.batches(path):
            for start in range(0, batch.num_rows, _BATCH_ROWS):
                part = batch.slice(start, _BATCH_ROWS)
                if self.schema is not None:
                    part = pa.record_batch([part[name] for name in self.schema.names], schema=self.schema)
                rows = range(at, at := at + part.num_rows)
                order = [pa.array([position] * part.num_rows, pa.int64()), pa.array(rows, pa.int64())]
                names = [*part.schema.names, *ORDER]
                yield pa.record_batch([*part.columns, *order], names=names)

    def batches(self, path: str) -> Iterator[pa.RecordBatch]:
        with located(file=self.store.url_of(path)):
            try:
                yield from _OPENERS[self.format](self, path)
            except (pa.ArrowException, KeyError) as error:
                raise CorruptError(f"cannot be read as {self.format}: {error}") from error


def read_objects(spark: SparkSession, options: IngestOptions, files: Sequence[ObjectInfo]) -> DataFrame:
    """The rows of `files`, whose columns are those of the first."""
    if options.format not in _OPENERS:
        raise InvalidArgumentError(
            f"{options.format} files in an object store cannot be read; {', '.join(_OPENERS)} can"
        )
    store, name = open_object(options.source, options.storage)
    if [info.path for info in files] != [name]:
        store = open_store(options.source, options.storage)
    separator = options.reader.get("sep", options.reader.get("delimiter", ","))
    header = options.reader.get("header", "false").lower() == "true"
    probe = ObjectReader(store, options.format, separator, header, None)
    first = next(probe.batches(files[0].path), None)
    if first is None:
        raise InvalidArgumentError("the first file has no rows", file=files[0].path)
    reader = ObjectReader(store, options.format, separator, header, first.schema)
    order = pa.schema([(name, pa.int64()) for name in ORDER])
    schema = from_arrow_schema(pa.schema([*first.schema, *order]))
    listed = spark.createDataFrame([(i, info.path) for i, info in enumerate(files)], "position long, path string")
    return listed.repartition(len(files)).mapInArrow(reader, schema)  # type: ignore[arg-type]


def _open_csv(reader: ObjectReader, path: str) -> Iterator[pa.RecordBatch]:
    csv = pyarrow.csv
    names = csv.open_csv(
        reader.store.reader(path),
        read_options=csv.ReadOptions(autogenerate_column_names=not reader.header, use_threads=False),
        parse_options=csv.ParseOptions(delimiter=reader.separator),
    ).schema.names
    return csv.open_csv(
        reader.store.reader(path),
        read_options=csv.ReadOptions(
            column_names=names, skip_rows=1 if reader.header else 0, use_threads=False, block_size=8 << 20
        ),
        parse_options=csv.ParseOptions(delimiter=reader.separator),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            strings_can_be_null=True,
            null_values=[""],
            quoted_strings_can_be_null=False,
        ),
    )


def _open_json(reader: ObjectReader, path: str) -> Iterator[pa.RecordBatch]:
    return iter(pyarrow.json.read_json(reader.store.reader(path)).to_batches())


def _open_parquet(reader: ObjectReader, path: str) -> Iterator[pa.RecordBatch]:
    return pq.ParquetFile(reader.store.reader(path), page_checksum_verification=True).iter_batches()


def _open_orc(reader: ObjectReader, path: str) -> Iterator[pa.RecordBatch]:
    file = pyarrow.orc.ORCFile(reader.store.reader(path))
    return (file.read_stripe(stripe) for stripe in range(file.nstripes))


_OPENERS: dict[str, Callable[[ObjectReader, str], Iterator[pa.RecordBatch]]] = {
    "csv": _open_csv,
    "json": _open_json,
    "orc": _open_orc,
    "parquet": _open_parquet,
}
