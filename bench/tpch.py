"""TPC-H by `tpchgen-cli`: two of its tables as they are, and all of them joined to one wide table."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

LINEITEMS = 200_000


def lineitem() -> pa.Table:
    return _generate(0.2, "lineitem")["lineitem"].slice(0, LINEITEMS)


def orders() -> pa.Table:
    return _generate(0.2, "orders")["orders"]


def sales() -> pa.Table:
    """What a warehouse keeps for its reports: a line item with its order, customer, part and supplier; no comments.

    About 120,000 rows in the order of the line items.
    """
    tables = _generate(0.02, "lineitem", "orders", "customer", "part", "supplier", "nation", "region")
    nations = tables["nation"].join(tables["region"], "n_regionkey", "r_regionkey")
    nations = nations.select(["n_nationkey", "n_name", "r_name"])
    joined = tables["lineitem"].append_column("row", pa.array(range(tables["lineitem"].num_rows)))
    joined = joined.join(tables["orders"], "l_orderkey", "o_orderkey")
    for side, key, table in (("c", "o_custkey", "customer"), ("s", "l_suppkey", "supplier")):
        named = nations.rename_columns([f"{side}_nationkey", f"{side}_nation", f"{side}_region"])
        joined = joined.join(tables[table].join(named, f"{side}_nationkey"), key, f"{side}_{key[2:]}")
    joined = joined.join(tables["part"], "l_partkey", "p_partkey").sort_by("row")
    return joined.select([name for name in joined.column_names if name != "row" and not name.endswith("_comment")])


@lru_cache
def _generate(scale: float, *names: str) -> dict[str, pa.Table]:
    program = Path(sys.executable).parent / "tpchgen-cli"
    if not program.exists():
        raise FileNotFoundError("tpchgen-cli is missing; `make bench` installs requirements-bench.lock")
    with tempfile.TemporaryDirectory() as folder:
        command = [str(program), "parquet", "-s", str(scale), "-o", folder, "-T", ",".join(names), "-c", "UNCOMPRESSED"]
        subprocess.run(command, check=True, capture_output=True)
        return {name: _plain(pq.read_table(Path(folder, f"{name}.parquet"))) for name in names}


def _plain(table: pa.Table) -> pa.Table:
    """Strings for string views, and neither field ids nor `not null`: what most writers write."""
    types = [pa.string() if pa.types.is_string_view(field.type) else field.type for field in table.schema]
    fields = [pa.field(field.name, type_) for field, type_ in zip(table.schema, types, strict=True)]
    return table.cast(pa.schema(fields))
