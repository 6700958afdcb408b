"""Statistics are recorded and read here: rows -> Parquet in the lake -> one Arrow table.

The numbers come from numpy, torch or Arrow scalars as often as from Python: they are converted, once,
before the contract is checked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq

from mdlake.errors import CorruptError, InvalidArgumentError, located
from mdlake.lake.store import open_store
from mdlake.statistics.contract import KINDS, arrow_schema, check

__all__ = ["KINDS", "read", "read_latest", "record"]

_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def record(
    stats_url: str,
    kind: str,
    rows: Sequence[Mapping[str, object]],
    *,
    run: str,
    options: Mapping[str, str] | None = None,
) -> None:
    """Writes one Parquet file with `rows`, replacing what the same run recorded before.

    `options` are storage options. Raises `InvalidArgumentError` for an unknown kind, a run that is no
    file name, or a row that breaks the contract; nothing is written then.
    """
    if not _RUN.fullmatch(run):
        raise InvalidArgumentError(f"a run is named by letters, digits, '.', '_' and '-', not {run!r}")
    plain = [{name: _plain(value) for name, value in row.items()} for row in rows]
    check(kind, plain)
    recorded = datetime.now(UTC)
    table = pa.Table.from_pylist(
        [{"run": run, "recorded": recorded, **row} for row in plain], schema=arrow_schema(kind)
    )
    sink = BytesIO()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    open_store(stats_url, options).put(f"{kind}/{run}.parquet", sink.getvalue())


def read(stats_url: str, kind: str, options: Mapping[str, str] | None = None) -> pa.Table:
    """Every recorded row of `kind`, oldest run first, in the order in which each run recorded its rows."""
    schema = arrow_schema(kind)
    store = open_store(stats_url, options)
    tables = [
        _parse(store.get(info.path), info.path, schema)
        for info in store.list(f"{kind}/")
        if info.path.endswith(".parquet")
    ]
    filled = [table for table in tables if table.num_rows]
    filled.sort(key=lambda table: (table["recorded"][0].as_py(), table["run"][0].as_py()))
    return pa.concat_tables([schema.empty_table(), *filled])


def read_latest(stats_url: str, kind: str, options: Mapping[str, str] | None = None) -> pa.Table:
    """The rows of the newest run of `kind`; none where nothing was recorded."""
    table = read(stats_url, kind, options)
    if not table.num_rows:
        return table
    newest = table["run"][-1].as_py()
    return table.filter(pa.array([run == newest for run in table["run"].to_pylist()]))


def _parse(data: bytes, path: str, schema: pa.Schema) -> pa.Table:
    with located(file=path):
        try:
            # No reads in the background: they may outlive the interpreter.
            file = pq.ParquetFile(pa.BufferReader(data), pre_buffer=False, page_checksum_verification=True)
            table = file.read(use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise CorruptError(f"not a Parquet file of statistics: {error}") from error
        # A file of an older release may lack a column that was added since; null stands for it.
        columns = [
            table[field.name].cast(field.type)
            if field.name in table.column_names
            else pa.nulls(table.num_rows, field.type)
            for field in schema
        ]
        return pa.table(columns, schema=schema)


def _plain(value: object) -> object:
    item = getattr(value, "item", None) or getattr(value, "as_py", None)
    return item() if callable(item) else value
