"""The options of the table verbs: one frozen dataclass each, filled alike by Python, the command line, Spark
jobs and TOML files. `storage` holds credentials: it is never stored, compared or shown.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any, TypeVar, cast

from mdlake.errors import InvalidArgumentError

Storage = Mapping[str, str]


@dataclass(frozen=True)
class EncodeOptions:
    """Parquet at `source` to blocks at `archive`.

    A block row has at most `rows_per_block` rows and about `bytes_per_block` Arrow bytes. `columns`: names to
    keep, all by default. `coders`: entropy coders that may be used, those of the effort by default. `depth`: how
    many columns, one coded with the other, may have to be read before one (0: every column alone; no bound by default).
    `overwrite`: allow a new version of an archive that was made from something else.
    """

    source: str
    archive: str
    effort: str = "default"
    rows_per_block: int = 1 << 20
    bytes_per_block: int = 256 << 20
    columns: tuple[str, ...] | None = None
    coders: tuple[str, ...] | None = None
    depth: int | None = None
    overwrite: bool = False
    storage: Storage = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("rows_per_block", "bytes_per_block"):
            if getattr(self, name) < 1:
                raise InvalidArgumentError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.depth is not None and self.depth < 0:
            raise InvalidArgumentError(f"depth must be at least 0, not {self.depth}")

    def recorded(self) -> dict[str, Any]:
        """The options that decide what is in the archive, as the manifest records them."""
        return {
            "effort": self.effort,
            "rows_per_block": self.rows_per_block,
            "bytes_per_block": self.bytes_per_block,
            "columns": list(self.columns) if self.columns is not None else None,
            "coders": list(self.coders) if self.coders is not None else None,
            **({"depth": self.depth} if self.depth is not None else {}),
        }


@dataclass(frozen=True)
class RestoreOptions:
    """The archive's `version` (the newest by default) to Parquet at `target`: a file if it ends in .parquet, else
    a folder with the source's files. `compression` is Parquet's."""

    archive: str
    target: str
    version: int | None = None
    columns: tuple[str, ...] | None = None
    compression: str = "zstd"
    storage: Storage = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class VerifyOptions:
    """Check every byte of an archive and, if there is a `source`, compare with it bit for bit."""

    archive: str
    source: str | None = None
    version: int | None = None
    storage: Storage = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class VacuumOptions:
    """Delete manifests older than `retention` (never the newest), then what no manifest refers to.

    `grace`: an unreferenced file younger than this may belong to a running writer and stays.
    """

    archive: str
    retention: timedelta = timedelta(days=30)
    grace: timedelta = timedelta(days=7)
    dry_run: bool = False
    storage: Storage = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class InspectOptions:
    """Describe what an archive's `version` holds."""

    archive: str
    version: int | None = None
    storage: Storage = field(default_factory=dict, repr=False, compare=False)


Options = TypeVar("Options")


def fill(kind: type[Options], file: str | None = None, **given: Any) -> Options:
    """Options of `kind` from a TOML file and, over them, what is given and not None.

    Lists become tuples, `retention_days` and `grace_days` become times. Unknown names are refused.
    """
    values = {**(_read_toml(file) if file else {}), **{key: value for key, value in given.items() if value is not None}}
    for name in ("retention", "grace"):
        if (days := values.pop(f"{name}_days", None)) is not None:
            values[name] = timedelta(days=float(days))
    known = {item.name for item in fields(cast(Any, kind))}
    if unknown := sorted(set(values) - known):
        raise InvalidArgumentError(f"there is no option {unknown[0]!r}; there are {', '.join(sorted(known))}")
    try:
        return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
    except TypeError as error:
        raise InvalidArgumentError(f"the options are not complete: {error}") from error


def _read_toml(file: str) -> dict[str, Any]:
    try:
        with open(file, "rb") as data:
            return tomllib.load(data)
    except OSError as error:
        raise InvalidArgumentError(f"cannot read the options: {error.strerror}", file=file) from error
    except ValueError as error:
        raise InvalidArgumentError(f"the options are no TOML: {error}", file=file) from error
