"""The options of the table verbs: one frozen dataclass each, filled alike by Python, the command line, Spark
jobs and TOML files. `storage` holds credentials: it is never stored, compared or shown.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import timedelta
from types import NoneType, UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from mdlake.error_bounds import Absolute, ErrorBound, Relative, error_bound
from mdlake.errors import InvalidArgumentError, located

Storage = Mapping[str, str]
ErrorBounds = Mapping[str, ErrorBound | float | str]
_STORAGE = {"help": "an option of the object store under obstore's name, as endpoint=URL"}
_MAX_ERROR = {"help": "a bound on a float column's error, as temp=0.01 or price=1e-3:rel; by default there is none"}
_ARCHIVE = "the archive: a folder or a URL"
_VERSION = "a version of the archive; by default the newest"
REORDERS = ("none", "reversible", "free")
COMPRESSIONS = ("zstd", "snappy", "gzip", "brotli", "lz4", "none")  # Parquet's
_PLAIN = {int: "a whole number", str: "a text", bool: "true or false", tuple: "a list of texts", Mapping: "a table"}


def option(text: str, default: Any = MISSING) -> Any:
    """A field of an options dataclass, with its help text; required if there is no default."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class EncodeOptions:
    """Parquet at `source` to blocks at `archive`.

    A block row has at most `rows_per_block` rows and about `bytes_per_block` Arrow bytes. `columns`: names to
    keep, all by default. `coders`: entropy coders that may be used, those of the effort by default. `depth`: how
    many columns, one coded with the other, may have to be read before one (0: every column alone; no bound by default).
    `max_error`: how far a float column's values may lie from the source's, by name, as `Absolute(0.01)` or 0.01, as
    `Relative(1e-3)` or "1e-3:rel"; all others are kept bit for bit. `reorder`: whether the rows of a block row may be
    sorted where that is shorter: `reversible` with the way back stored, or `free`, and restored as they were sorted.
    `overwrite`: allow a new version of an archive that was made from something else.
    """

    source: str = option("a Parquet file, a folder of them, or a URL")
    archive: str = option(_ARCHIVE)
    effort: str = option("fast, default or max", "default")
    rows_per_block: int = option("the most rows in a block", 1 << 20)
    bytes_per_block: int = option("about the most Arrow bytes of a row of blocks", 256 << 20)
    columns: tuple[str, ...] | None = option("columns to keep; by default all", None)
    coders: tuple[str, ...] | None = option("entropy coders that may be used; by default those of the effort", None)
    depth: int | None = option("the longest chain of columns that reading one may need; 0: none, by default any", None)
    max_error: ErrorBounds = field(default_factory=dict, hash=False, metadata=_MAX_ERROR)
    reorder: str = option("none; reversible: rows may be sorted, and come back in order; free: in any order", "none")
    overwrite: bool = option("replace an archive of another source", False)
    storage: Storage = field(default_factory=dict, repr=False, compare=False, metadata=_STORAGE)

    def __post_init__(self) -> None:
        for name in ("rows_per_block", "bytes_per_block"):
            if getattr(self, name) < 1:
                raise InvalidArgumentError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.depth is not None and self.depth < 0:
            raise InvalidArgumentError(f"depth must be at least 0, not {self.depth}")
        if self.reorder not in REORDERS:
            raise InvalidArgumentError(f"reorder {self.reorder!r} is unknown; choose one of {', '.join(REORDERS)}")
        _ = self.error_bounds  # refuses what is no bound

    @property
    def error_bounds(self) -> dict[str, ErrorBound]:
        """`max_error` by column, each bound as what it is."""
        found = {}
        for name, bound in self.max_error.items():
            with located(column=name):
                found[name] = error_bound(bound)
        return found

    def recorded(self) -> dict[str, Any]:
        """The options that decide what is in the archive, as the manifest records them."""
        return {
            "effort": self.effort,
            "rows_per_block": self.rows_per_block,
            "bytes_per_block": self.bytes_per_block,
            "columns": list(self.columns) if self.columns is not None else None,
            "coders": list(self.coders) if self.coders is not None else None,
            **({"depth": self.depth} if self.depth is not None else {}),
            **({"max_error": {n: str(bound) for n, bound in self.error_bounds.items()}} if self.max_error else {}),
            **({"reorder": self.reorder} if self.reorder != "none" else {}),
        }


@dataclass(frozen=True)
class RestoreOptions:
    """The archive's `version` (the newest by default) to Parquet at `target`: a file if it ends in .parquet, else
    a folder with the source's files. `compression` is Parquet's."""

    archive: str = option(_ARCHIVE)
    target: str = option("a name ending in .parquet, a folder, or a URL")
    version: int | None = option(_VERSION, None)
    columns: tuple[str, ...] | None = option("columns to restore; by default all", None)
    compression: str = option(f"Parquet's: {', '.join(COMPRESSIONS)}", "zstd")
    storage: Storage = field(default_factory=dict, repr=False, compare=False, metadata=_STORAGE)

    def __post_init__(self) -> None:
        if self.compression not in COMPRESSIONS:
            known = ", ".join(COMPRESSIONS)
            raise InvalidArgumentError(f"compression {self.compression!r} is unknown; choose one of {known}")


@dataclass(frozen=True)
class VerifyOptions:
    """Check every byte of an archive and, if there is a `source`, compare with it: bit for bit, but columns with a
    `max_error` within that, unless `exact`."""

    archive: str = option(_ARCHIVE)
    source: str | None = option("Parquet to compare with, bit for bit; by default the archive is only checked", None)
    version: int | None = option(_VERSION, None)
    exact: bool = option("demand equal bits of columns with a max_error too", False)
    storage: Storage = field(default_factory=dict, repr=False, compare=False, metadata=_STORAGE)

    def __post_init__(self) -> None:
        if self.exact and self.source is None:
            raise InvalidArgumentError("exact compares with a source; name one")


@dataclass(frozen=True)
class VacuumOptions:
    """Delete manifests older than `retention` (never the newest), then what no manifest refers to.

    `grace`: an unreferenced file younger than this may belong to a running writer and stays.
    """

    archive: str
    retention: timedelta = timedelta(days=30)
    grace: timedelta = timedelta(days=7)
    dry_run: bool = False
    storage: Storage = field(default_factory=dict, repr=False, compare=False, metadata=_STORAGE)

    def __post_init__(self) -> None:
        for name in ("retention", "grace"):
            if getattr(self, name) < timedelta(0):
                days = getattr(self, name) / timedelta(days=1)
                raise InvalidArgumentError(f"{name} must be at least 0 days, not {days:g}")


@dataclass(frozen=True)
class InspectOptions:
    """Describe what an archive's `version` holds."""

    archive: str
    version: int | None = None
    storage: Storage = field(default_factory=dict, repr=False, compare=False, metadata=_STORAGE)


@dataclass(frozen=True)
class ExplainOptions:
    """Say why the blocks of one block row of an archive's `version` are as they are, counted from 0 over its files.

    `columns`: names of those asked for, all by default.
    """

    archive: str
    version: int | None = None
    columns: tuple[str, ...] | None = None
    block_row: int = 0
    storage: Storage = field(default_factory=dict, repr=False, compare=False, metadata=_STORAGE)


Options = TypeVar("Options")


def fill(kind: type[Options], file: str | None = None, **given: Any) -> Options:
    """Options of `kind` from a TOML file and, over them, what is given and not None.

    Lists become tuples, `retention_days` and `grace_days` become times. Unknown names and values of another type
    are refused.
    """
    values = {**(_read_toml(file) if file else {}), **{key: value for key, value in given.items() if value is not None}}
    for name in ("retention", "grace"):
        if (days := values.pop(f"{name}_days", None)) is not None:
            values[name] = _days(f"{name}_days", days)
    known = {item.name for item in fields(cast(Any, kind))}
    if unknown := sorted(set(values) - known):
        raise InvalidArgumentError(f"there is no option {unknown[0]!r}; there are {', '.join(sorted(known))}")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    hints = get_type_hints(kind)
    for name, value in values.items():
        _check_type(name, value, hints[name])
    try:
        return kind(**values)
    except TypeError as error:
        raise InvalidArgumentError(f"the options are not complete: {error}") from error


def _days(name: str, days: Any) -> timedelta:
    if isinstance(days, bool) or not isinstance(days, int | float):
        raise InvalidArgumentError(f"{name} must be a number, not {days!r}")
    try:
        return timedelta(days=days)
    except (OverflowError, ValueError) as error:
        raise InvalidArgumentError(f"{name} cannot be {days!r}: {error}") from error


def _check_type(name: str, value: Any, hint: Any) -> None:
    parts = get_args(hint) if get_origin(hint) is UnionType else (hint,)
    kinds = [_kind(part) for part in parts]
    items = value if isinstance(value, tuple) else value.values() if isinstance(value, Mapping) else ()
    allowed = (str, int, float, Absolute, Relative) if hint == ErrorBounds else str
    if any(_fits(value, kind) for kind in kinds) and all(isinstance(item, allowed) for item in items):
        return
    expected = " or ".join(str(_PLAIN.get(kind, kind.__name__)) for kind in kinds if kind is not NoneType)
    shown = "" if Mapping in kinds else f", not {value!r}"  # a table may hold secrets
    raise InvalidArgumentError(f"{name} must be {expected}{shown}")


def _kind(hint: Any) -> Any:
    """The class to check for: `tuple[str, ...]` is a tuple."""
    return get_origin(hint) or hint


def _fits(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))  # True is an int to Python


def _read_toml(file: str) -> dict[str, Any]:
    try:
        with open(file, "rb") as data:
            return tomllib.load(data)
    except OSError as error:
        raise InvalidArgumentError(f"cannot read the options: {error.strerror}", file=file) from error
    except ValueError as error:
        raise InvalidArgumentError(f"the options are no TOML: {error}", file=file) from error
