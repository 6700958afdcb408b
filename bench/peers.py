"""The codecs that are compared: ours, and the peers as their users would call them to get the smallest files.

A codec writes everything that reading needs to one path, a file or a folder. Codecs that work on columns are in
`array_peers.py`. A peer's package is imported when it is used, so a missing one costs only its own row.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import pyarrow as pa
import pyarrow.parquet as pq

from bench.array_peers import OpenZL, Pcodec
from bench.packages import why_missing


class Codec(Protocol):
    """Writes a table to a path that does not exist, and reads it; `remarks`: what of the last table it could not do."""

    def write(self, table: pa.Table, path: Path) -> None: ...

    def read(self, path: Path) -> pa.Table: ...

    @property
    def remarks(self) -> list[str]: ...


@dataclass
class Mdlake:
    effort: str
    remarks: list[str]

    def write(self, table: pa.Table, path: Path) -> None:
        importlib.import_module("mdlake").encode(table, str(path), effort=self.effort)

    def read(self, path: Path) -> pa.Table:
        return importlib.import_module("mdlake").open(str(path)).to_table()


@dataclass
class Parquet:
    compression: str
    level: int | None
    remarks: list[str]

    def write(self, table: pa.Table, path: Path) -> None:
        pq.write_table(table, path, compression=self.compression, compression_level=self.level)

    def read(self, path: Path) -> pa.Table:
        return pq.read_table(path, use_threads=False)


@dataclass
class SearchedParquet(Parquet):
    """Every encoding of every column is tried with zstd-9 and the smallest kept; one row group, one page a column.

    The smallest Parquet that pyarrow writes: pages cannot be skipped in it, nor are there statistics.
    """

    def write(self, table: pa.Table, path: Path) -> None:
        chosen = {name: self._best(table.select([name])) for name in table.column_names}
        dictionaries = [name for name, encoding in chosen.items() if encoding is None]
        encodings = {name: encoding for name, encoding in chosen.items() if encoding is not None}
        self._write(table, path, self.compression, self.level, dictionaries, encodings)

    def _best(self, column: pa.Table) -> str | None:
        sizes = {}
        for encoding in _encodings(column.schema.field(0).type):
            sink = pa.BufferOutputStream()
            names = column.column_names
            dictionaries, encodings = (names, {}) if encoding is None else ([], dict.fromkeys(names, encoding))
            try:
                self._write(column, sink, "zstd", 9, dictionaries, encodings)
            except (pa.ArrowException, OSError):
                continue  # not an encoding of this type
            sizes[encoding] = sink.tell()
        return min(sizes, key=lambda encoding: sizes[encoding])

    def _write(
        self, table: pa.Table, sink: Any, compression: str, level: int | None, dictionaries: list[str],
        encodings: dict[str, str],
    ) -> None:  # fmt: skip
        pq.write_table(
            table, sink, compression=compression, compression_level=level,
            use_dictionary=cast(Any, dictionaries or False), column_encoding=encodings or None, data_page_size=64 << 20,
            dictionary_pagesize_limit=256 << 20, row_group_size=1 << 26, max_rows_per_page=1 << 30,
            write_statistics=False, store_decimal_as_integer=True,
        )  # fmt: skip


def _encodings(type_: pa.DataType) -> Iterator[str | None]:
    yield None  # a dictionary
    yield "PLAIN"
    if pa.types.is_integer(type_) or pa.types.is_temporal(type_) or pa.types.is_decimal(type_):
        yield from ("DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT")
    elif pa.types.is_floating(type_):
        yield "BYTE_STREAM_SPLIT"
    elif pa.types.is_string(type_) or pa.types.is_binary(type_):
        yield from ("DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY")
    elif pa.types.is_boolean(type_):
        yield "RLE"


@dataclass
class Vortex:
    """Vortex' compact strategy; what it gives back is cast to the types that went in."""

    remarks: list[str]

    def write(self, table: pa.Table, path: Path) -> None:
        vortex = importlib.import_module("vortex")
        vortex.set_worker_threads(1)
        vortex.io.VortexWriteOptions.compact().write(table, str(path))

    def read(self, path: Path) -> pa.Table:
        return importlib.import_module("vortex").open(str(path)).scan().read_all().to_arrow_table()


EFFORTS = ("fast", "default", "max")
OURS = {f"mdlake {effort}": Mdlake(effort, []) for effort in EFFORTS}
PEERS: dict[str, Codec] = {
    "parquet snappy": Parquet("snappy", None, []),
    "parquet zstd-9": Parquet("zstd", 9, []),
    "parquet zstd-19": Parquet("zstd", 19, []),
    "parquet searched zstd-19": SearchedParquet("zstd", 19, []),
    "parquet searched brotli-11": SearchedParquet("brotli", 11, []),
    "pcodec + zstd-19": Pcodec([]),
    "vortex compact": Vortex([]),
    "openzl searched": OpenZL([]),
}
CODECS: dict[str, Codec] = {**OURS, **PEERS}
REFERENCE = "parquet zstd-9"
PACKAGES = {"pcodec + zstd-19": "pcodec", "vortex compact": "vortex", "openzl searched": "openzl.ext"}


def missing(codec: str) -> str | None:
    """Why a codec cannot be used here, if so."""
    return why_missing(PACKAGES.get(codec, "pyarrow"))
