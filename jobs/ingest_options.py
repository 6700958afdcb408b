"""All that ingest can be told, in one frozen dataclass; `demo/flights.toml` is an example."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

from mdlake.errors import InvalidArgumentError


def _option(default: Any, text: str) -> Any:
    if isinstance(default, Mapping):
        return field(default_factory=lambda: dict(default), metadata={"help": text})
    return field(default=default, metadata={"help": text})


_ENDINGS = {".csv": "csv", ".json": "json", ".jsonl": "json", ".orc": "orc", ".avro": "avro", ".xml": "xml"}
_SPLIT = MappingProxyType({"train": 0.8, "validation": 0.1, "test": 0.1})


@dataclass(frozen=True)
class IngestOptions:
    """From any source that Spark reads to typed Parquet shards."""

    source: str = field(metadata={"help": "path, URL or name of a table"})
    target: str = field(metadata={"help": "folder or URL below which each split gets a folder of shards"})
    stats: str = _option("", "where statistics go; by default 'stats' beside the target")
    format: str = _option("parquet", "format of Spark's reader (csv, json, jdbc, ...), or 'table'")
    reader: Mapping[str, str] = _option({}, "option of Spark's reader, as header=true")
    types: Mapping[str, str] = _option({}, "Spark SQL type of a column, as dep_time=int")
    trim: bool = _option(True, "strip spaces from both ends of strings")
    nulls: tuple[str, ...] = _option(("",), "spellings of null in strings")
    required: tuple[str, ...] = _option((), "columns without which a row is dropped")
    duplicates: str = _option("keep", "'keep', 'drop' equal rows, or 'drop-by-key'")
    key: tuple[str, ...] = _option((), "columns whose hash decides the split; none: all")
    split: Mapping[str, float] = _option(_SPLIT, "a split and its share, as train=0.8")
    sort: tuple[str, ...] = _option((), "columns to sort a shard by; none: the source's order")
    rows_per_shard: int = _option(1_000_000, "rows of a shard, about")
    row_group_rows: int = _option(1_000_000, "rows of a row group, at most")
    profile_rows: int = _option(5_000_000, "rows to count distinct values and entropy on")
    overwrite: bool = _option(False, "replace shards of another source or of other options, and delete them")
    compare: bool = _option(False, "also measure the rows as Parquet snappy and zstd-9")
    storage: Mapping[str, str] = _option({}, "option of the object store, as endpoint=URL")

    def __post_init__(self) -> None:
        ending = PurePosixPath(self.source.lower().removesuffix(".gz")).suffix
        if self.format == "parquet" and ending in _ENDINGS:
            hint = f"its name ends in {ending}: give --format {_ENDINGS[ending]}"
            header = ", and --reader header=true if its first line has the names" if ending == ".csv" else ""
            raise InvalidArgumentError(f"the source is no Parquet, {hint}{header}", source=self.source)
        if self.duplicates not in ("keep", "drop", "drop-by-key"):
            raise InvalidArgumentError(f"duplicates is keep, drop or drop-by-key, not {self.duplicates!r}")
        if self.duplicates == "drop-by-key" and not self.key:
            raise InvalidArgumentError("duplicates = 'drop-by-key' needs a key")
        if not self.split or any(not 0 < share <= 1 for share in self.split.values()):
            raise InvalidArgumentError("every split needs a share above 0, and at most 1")
        if not math.isclose(sum(self.split.values()), 1, abs_tol=1e-9):
            raise InvalidArgumentError(f"the shares of the splits add up to {sum(self.split.values())}, not 1")
        if min(self.rows_per_shard, self.row_group_rows, self.profile_rows) < 1:
            raise InvalidArgumentError("rows_per_shard, row_group_rows and profile_rows are at least 1")

    def digest(self) -> str:
        """Names the rules: all that decides the shards' bytes beside the source's content."""
        told = asdict(self)
        for name in ("source", "target", "stats", "storage", "profile_rows", "overwrite", "compare"):
            del told[name]
        return _digest(told)

    def run_name(self) -> str:
        """Names the run in the statistics: these rules on this source to this target."""
        return f"ingest-{_digest([self.source, self.target, self.digest()])}"


def _digest(told: object) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
