"""The contract `schemas/statistics.json`: which kinds of statistics there are, and their columns.

The JSON Schema checks rows before they are written; its `arrow` keyword gives the columns their types.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema
import pyarrow as pa

from mdlake.errors import InvalidArgumentError

_ARROW_TYPES = {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_()}
KINDS = ("profile", "ingest", "blocks", "tables", "training", "models", "stages", "layers")


def arrow_schema(kind: str) -> pa.Schema:
    """The columns of `stats/<kind>/*.parquet`: `run` and `recorded`, then those of the contract."""
    definition = _definition(kind)
    required = set(definition["required"])
    fields = [
        pa.field("run", pa.string(), nullable=False),
        pa.field("recorded", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
    for name, column in definition["properties"].items():
        fields.append(pa.field(name, _ARROW_TYPES[column["arrow"]], nullable=name not in required))
    return pa.schema(fields)


def check(kind: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Raises `InvalidArgumentError` naming the first row and column that break the contract."""
    validator = jsonschema.Draft202012Validator(_definition(kind))
    for index, row in enumerate(rows):
        fault = next(validator.iter_errors(dict(row)), None)
        if fault is not None:
            where = ".".join(str(part) for part in fault.absolute_path) or "the row"
            raise InvalidArgumentError(f"row {index}: {where}: {fault.message}; see schemas/statistics.json", kind=kind)


@cache
def _definitions() -> dict[str, dict]:
    return json.loads(files("mdlake.schemas").joinpath("statistics.json").read_text("utf-8"))["$defs"]


def _definition(kind: str) -> dict:
    try:
        return _definitions()[kind]
    except KeyError:
        raise InvalidArgumentError(f"no such kind of statistics: {kind!r}; there are {', '.join(KINDS)}") from None
