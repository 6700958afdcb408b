"""verify: prove that an archive is whole and, given its source, that it equals it bit for bit. plan -> tasks -> commit.

Columns that were encoded with a `max_error` are compared within that, unless equal bits are demanded of them too. Where
the archive has given up the order of rows, the source's are sorted in the same way first.
Every data file is hashed, every block decoded. Rows are compared by position, so the source may be the original,
a restored copy, or any other cutting of the same rows into files. Memory holds one block row of each.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import accumulate
from typing import NoReturn

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mdlake.archive.compare import first_difference
from mdlake.archive.layout import REPAIR_DATA, ArchiveManifest, DataFile, RowOrder
from mdlake.archive.loss import first_beyond
from mdlake.archive.options import VerifyOptions
from mdlake.archive.planning import select_columns
from mdlake.archive.reader import Archive, data_file_at, read_blocks
from mdlake.archive.reorder import key_ranks, sorted_rows, take
from mdlake.archive.source import Footer, RowStream, SourceRows, read_footers
from mdlake.archive.spread import Progress, Task, spread
from mdlake.engine import Engine
from mdlake.error_bounds import ErrorBound, told
from mdlake.errors import CorruptError, UnsupportedVersionError, advised, located
from mdlake.lake.dataset import list_parquet
from mdlake.lake.store import Store, open_store

_PIECE = 8 << 20


@dataclass(frozen=True)
class VerifyTask(Task):
    """One data file, and the source rows that it should equal (None: only check the file)."""

    archive: Store
    file: DataFile
    schema: pa.Schema
    source: tuple[SourceRows, ...] | None
    error_bounds: Mapping[int, ErrorBound]

    @property
    def name(self) -> str:
        return f"verify {self.file.path or 'a file without blocks'}"


@dataclass(frozen=True)
class Difference:
    """The first place where archive and source differ; `row` counts from 0 in the source file."""

    file: str
    column: str | None
    row: int | None
    message: str

    def __str__(self) -> str:
        place = "".join(
            f", {noun} {value!r}" for noun, value in (("column", self.column), ("row", self.row)) if value is not None
        )
        return f"file {self.file!r}{place}: {self.message}"


@dataclass(frozen=True)
class VerifyResult:
    difference: Difference | None


@dataclass(frozen=True)
class VerifyPlan:
    options: VerifyOptions
    archive: Archive
    tasks: tuple[VerifyTask, ...]
    difference: Difference | None  # found in schemas and row counts alone


@dataclass(frozen=True)
class VerifyReport:
    """`ok`: whole and, if a source was given, equal to it. `allowed`: what was not demanded to be equal."""

    archive: str
    version: int
    rows: int
    files: int
    blocks: int
    archive_bytes: int
    compared: bool
    difference: Difference | None
    allowed: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.difference is None


def verify(options: VerifyOptions, engine: Engine | None = None, progress: Progress | None = None) -> VerifyReport:
    """Checks the archive; damage raises `CorruptError` or `TruncatedError`, a difference is in the report."""
    planned = plan(options)
    return commit(planned, spread(run, planned.tasks, engine, progress))


def plan(options: VerifyOptions) -> VerifyPlan:
    """Pairs every data file with the source rows at its position."""
    archive = Archive.open(options.archive, options.version, options.storage)
    manifest = archive.manifest
    footers, difference = [], None
    if options.source is not None:
        footers = read_footers(list_parquet(options.source, options.storage), options.storage)
        difference = _compare_schemas(archive, footers) or _compare_counts(archive, footers)
    bounds = {} if options.exact else manifest.error_bounds
    starts = _starts([footer.metadata.num_rows for footer in footers])
    tasks, first = [], 0
    for file in manifest.files:
        rows = sum(file.rows)
        source = None
        if options.source is not None and difference is None:
            source = tuple(_rows_between(footers, starts, options.storage, first, first + rows))
        tasks.append(VerifyTask(archive.store, file, manifest.schemas[file.schema], source, bounds))
        first += rows
    return VerifyPlan(options, archive, tuple(tasks), difference)


def run(task: VerifyTask) -> VerifyResult:
    """Hashes one data file, decodes all its blocks and compares them."""
    file = task.file
    damaged = bool(file.path) and not _has_its_hash(task.archive, file)
    if damaged:
        _find_damage(task)
    if task.source is None:
        _read_all(task)
        return VerifyResult(None)
    with closing(RowStream(task.source, task.schema)) as stream:
        return VerifyResult(_compare_rows(task, stream))


def commit(planned: VerifyPlan, results: Sequence[VerifyResult]) -> VerifyReport:
    """The first difference in row order, or none."""
    found = [result.difference for result in results if result.difference]
    manifest, compared = planned.archive.manifest, planned.options.source is not None
    return VerifyReport(
        archive=planned.archive.store.url,
        version=planned.archive.version,
        rows=manifest.num_rows,
        files=len(manifest.files),
        blocks=sum(len(row) for file in manifest.files for row in file.blocks),
        archive_bytes=sum(file.bytes for file in manifest.files),
        compared=compared,
        difference=planned.difference or next(iter(found), None),
        allowed=_allowed(manifest, planned.options.exact) if compared else (),
    )


def _find_damage(task: VerifyTask) -> NoReturn:
    """Says which block of a file that is not what was written is damaged, if one is."""
    try:
        _read_all(task)
    except UnsupportedVersionError as error:
        raise CorruptError(f"{error.message}, or the block is damaged; {REPAIR_DATA}", **error.place) from error
    with located(file=task.archive.url_of(task.file.path)), advised(REPAIR_DATA):
        raise CorruptError("the file's SHA-256 is not the manifest's: it is damaged outside of its blocks")


def _read_all(task: VerifyTask) -> None:
    for row in range(len(task.file.rows)):
        read_blocks(task.archive, task.file, task.schema, row, range(len(task.schema)))


def _compare_rows(task: VerifyTask, stream: RowStream) -> Difference | None:
    for row, rows in enumerate(task.file.rows):
        arrays = read_blocks(task.archive, task.file, task.schema, row, range(len(task.schema)))
        spans, expected = stream.take(rows)
        moved = _sorted_alike(expected, task.file.order(row))
        expected = expected if moved is None else [take(array, moved) for array in expected]
        for i, (column, ours, theirs) in enumerate(zip(task.schema, arrays, expected, strict=True)):
            bound = task.error_bounds.get(i)
            at = first_difference(ours, theirs) if bound is None else first_beyond(theirs, ours, bound)
            if at is not None:
                place = at if moved is None or at >= len(moved) else int(moved[at])
                return _difference(*spans.locate(place), column.name, theirs, ours, at, bound)
    return None


def _sorted_alike(source: Sequence[pa.Array], order: RowOrder | None) -> NDArray[np.int64] | None:
    """Where the source's rows lie when sorted as the archive's are; None if those are in the source's order."""
    ranks = key_ranks(source, order.columns) if order and not order.bytes else None
    return None if ranks is None else sorted_rows(ranks)


def _allowed(manifest: ArchiveManifest, exact: bool) -> tuple[str, ...]:
    bounds = {} if exact else manifest.error_bounds
    near = (f"column {manifest.schema.field(i).name!r} {told(bound)}" for i, bound in bounds.items())
    orders = [order for file in manifest.files for order in file.orders]
    moved = sum(order is not None and not order.bytes for order in orders)
    blocks = sum(len(file.rows) for file in manifest.files)
    return (*near, *([f"rows sorted, their order given up, in {moved} of {blocks} block rows"] if moved else []))


def _has_its_hash(store: Store, file: DataFile) -> bool:
    digest = hashlib.sha256()
    with data_file_at(store, file), store.reader(file.path) as data:
        while piece := data.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest() == file.sha256


def _compare_schemas(archive: Archive, footers: Sequence[Footer]) -> Difference | None:
    columns = archive.manifest.options.get("columns")
    names = None if columns is None else tuple(columns)
    for footer, ours in _pairs(archive, footers):
        theirs = select_columns(footer.schema, names)
        for i, (one, other) in enumerate(zip(ours, theirs, strict=False)):
            if not one.equals(other, check_metadata=True):
                return Difference(footer.file.url, one.name, None, f"column {i} is {other}, the archive has {one}")
        if not ours.equals(theirs, check_metadata=True):
            return Difference(footer.file.url, None, None, "the schemas differ in columns or metadata")
    return None


def _pairs(archive: Archive, footers: Sequence[Footer]) -> Iterator[tuple[Footer, pa.Schema]]:
    """Each source file with the schema that the archive keeps for the rows at its beginning."""
    files = archive.manifest.files
    starts = _starts([sum(file.rows) for file in files])
    for footer, first in zip(footers, _starts([footer.metadata.num_rows for footer in footers]), strict=False):
        at = bisect_right(starts, first, hi=len(files)) - 1
        yield footer, archive.manifest.schemas[files[at].schema] if files else archive.schema


def _starts(counts: Sequence[int]) -> list[int]:
    """The number of the first row of each file, and the number of all rows."""
    return [0, *accumulate(counts)]


def _compare_counts(archive: Archive, footers: Sequence[Footer]) -> Difference | None:
    rows = sum(footer.metadata.num_rows for footer in footers)
    if rows == archive.num_rows:
        return None
    url = footers[0].file.root
    return Difference(url, None, None, f"the source has {rows} rows, the archive {archive.num_rows}")


def _rows_between(
    footers: Sequence[Footer], starts: Sequence[int], storage: Mapping[str, str], first: int, end: int
) -> Iterator[SourceRows]:
    """Where the rows `first` up to `end` of the whole source lie."""
    at = max(0, bisect_right(starts, first) - 1)
    while at < len(footers) and starts[at] < end:
        footer, low, high = footers[at], max(first, starts[at]), min(end, starts[at + 1])
        if low < high:
            store = open_store(footer.file.root, storage)
            place = (store, footer.file.path, low - starts[at], high - low)
            yield SourceRows(*place, footer.row_bytes, footer.group_rows)
        at += 1


def _difference(
    url: str, row: int, column: str, theirs: pa.Array, ours: pa.Array, at: int, bound: ErrorBound | None
) -> Difference:
    source, archive = (_shown(array, at) for array in (theirs, ours))
    rule = f", which is not {told(bound)}" if bound else ""
    return Difference(url, column, row, f"the source has {source}, the archive {archive}{rule}")


def _shown(array: pa.Array, at: int) -> str:
    text = repr(array[at]) if at < len(array) else "no row"
    return text if len(text) <= 100 else text[:97] + "..."
