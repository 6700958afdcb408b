"""encode: Parquet to an archive. plan -> tasks -> commit.

A task takes one source file, or some of its row groups if it is large, to one data file. Killed anywhere, the
same command continues where it stopped; run again, it finds its work done.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import pyarrow as pa

from mdlake import block
from mdlake.archive import resume
from mdlake.archive.data_file import data_file_writer
from mdlake.archive.layout import ArchiveManifest, DataFile, SourceEntry
from mdlake.archive.options import EncodeOptions
from mdlake.archive.planning import (
    check_error_bounds,
    check_options,
    check_reorder,
    lost_files,
    newest_archive,
    open_archive,
    row_group_ranges,
    select_columns,
    shared_schemas,
)
from mdlake.archive.source import Footer, block_rows, read_footers, read_rows
from mdlake.archive.spread import Progress, Task, spread
from mdlake.engine import Engine
from mdlake.errors import ConflictError, CorruptError, InvalidArgumentError, located
from mdlake.lake.dataset import list_parquet
from mdlake.lake.manifest import (
    commit_manifest,
    manifest_text,
    manifests,
    newest_version,
    read_manifest,
)
from mdlake.lake.store import Store, open_store
from mdlake.lake.url import parse_url
from mdlake.version import VERSION

_BLOCK_ROWS_PER_FILE = 16


@dataclass(frozen=True)
class EncodeTask(Task):
    """Row groups `first` up to `end` of one source file, to become one data file."""

    source: Store
    path: str
    first: int
    end: int
    rows: int
    row_bytes: float
    schema: pa.Schema  # of the columns to keep
    archive: Store
    options: EncodeOptions
    source_index: int
    schema_index: int
    fingerprint: str
    explain: bool = False

    @property
    def name(self) -> str:
        return f"encode {self.path}, row groups {self.first} to {self.end}"


@dataclass(frozen=True)
class EncodeResult:
    """A data file; `reused` if an earlier, killed run had made it.

    `explained`: why each block is so, by block row; nothing if that was not asked of who made it.
    """

    file: DataFile
    fingerprint: str = ""
    reused: bool = False
    explained: resume.Explained = ()


@dataclass(frozen=True)
class EncodePlan:
    """What is to be done from version `base` on; `done` if that version already is the result.

    `lost`: how many data files of that version are not there, or not whole.
    """

    options: EncodeOptions
    archive: Store
    base: int
    schemas: tuple[pa.Schema, ...]
    sources: tuple[SourceEntry, ...]
    tasks: tuple[EncodeTask, ...]
    done: bool = False
    lost: int = 0


@dataclass(frozen=True)
class EncodeReport:
    """What an archive's version holds, how much of it was there before this run, how many lost files it repaired."""

    archive: str
    version: int
    rows: int
    columns: int
    blocks: int
    source_bytes: int
    arrow_bytes: int
    archive_bytes: int  # data files and manifest
    tasks: int
    reused_tasks: int
    already_done: bool
    repaired: int = 0
    block_rows: int = 0
    sorted_block_rows: int = 0  # whose rows were put in another order


def encode(options: EncodeOptions, engine: Engine | None = None, progress: Progress | None = None) -> EncodeReport:
    """Encodes `options.source` to `options.archive` and commits it."""
    planned = plan(options)
    return commit(planned, spread(run, planned.tasks, engine, progress))


def plan(options: EncodeOptions, explain: bool = False) -> EncodePlan:
    """Reads the source's footers and decides the tasks; writes nothing. `explain`: tasks say why each block is so."""
    check_options(options)
    archive = open_archive(options)
    base = newest_version(archive)
    previous = newest_archive(archive, base)
    footers = read_footers(list_parquet(options.source, options.storage), options.storage)
    schemas, numbers = shared_schemas(footers, options.columns)
    check_error_bounds(schemas[0], options)
    check_reorder(schemas[0], options)
    sources = tuple(SourceEntry(f.file.path, f.file.size, f.metadata.num_rows, f.sha256) for f in footers)
    lost = 0
    if previous:
        if previous.sources != sources and not options.overwrite:
            raise InvalidArgumentError(
                "this archive was made from another source; choose another place, or overwrite (--overwrite)",
                url=archive.url,
            )
        lost = len(lost_files(archive, previous))
        newest_source = max(footer.file.modified for footer in footers)
        untouched = newest_source <= manifests(archive)[base].modified and not options.overwrite
        if not lost and untouched and previous.sources == sources and previous.options == options.recorded():
            return EncodePlan(options, archive, base, schemas, sources, (), done=True)
    tasks = [
        task
        for index, footer in enumerate(footers)
        for task in _tasks(footer, options, archive, schemas, index, numbers[index], explain)
    ]
    return EncodePlan(options, archive, base, schemas, sources, tuple(tasks), lost=lost)


def run(task: EncodeTask) -> EncodeResult:
    """Encodes one task's rows to a data file, or takes the file that a killed run left."""
    saved = resume.load(task.archive, task.fingerprint, len(task.schema))
    if saved:
        placed = replace(saved[0], source=task.source_index, schema=task.schema_index)
        return EncodeResult(placed, task.fingerprint, reused=True, explained=saved[1])
    with located(file=task.source.url_of(task.path)):
        file, explained = _encode_rows(_read(task), task.schema, task.options, task.archive, task.explain)
    if sum(file.rows) != task.rows:
        raise CorruptError(
            f"the footer promises {task.rows} rows, {sum(file.rows)} were read; restore it from a backup",
            file=task.source.url_of(task.path),
        )
    file = replace(
        file,
        source=task.source_index,
        first_row_group=task.first,
        end_row_group=task.end,
        schema=task.schema_index,
    )
    resume.save(task.archive, task.fingerprint, file, explained)
    return EncodeResult(file, task.fingerprint, explained=explained)


def commit(planned: EncodePlan, results: Sequence[EncodeResult]) -> EncodeReport:
    """Makes the data files of all tasks the archive's next version."""
    archive, base = planned.archive, planned.base
    if planned.done:
        manifest = ArchiveManifest.from_json(read_manifest(archive, base)[1])
        return _report(planned, manifest, base, results)
    files = tuple(result.file for result in results)
    url = parse_url(planned.options.source).url if planned.options.source else ""
    manifest = ArchiveManifest(planned.schemas, files, planned.options.recorded(), url, planned.sources)
    version = _commit(archive, manifest, base, planned.options.overwrite or bool(planned.sources))
    archive.delete(resume.sidecar_path(result.fingerprint) for result in results if result.fingerprint)
    return _report(planned, manifest, version, results)


def encode_table(table: pa.Table, options: EncodeOptions) -> EncodeReport:
    """Encodes a table in memory; `options.source` is ignored."""
    if not isinstance(table, pa.Table):
        raise InvalidArgumentError(
            f"a pyarrow.Table or the place of Parquet files is needed, not {type(table).__name__}; "
            "make one first, as pyarrow.Table.from_pandas does"
        )
    check_options(options)
    options = replace(options, source="")
    kept = select_columns(table.schema, options.columns)
    check_error_bounds(kept, options)
    check_reorder(kept, options)
    table = table.select([i for i, name in enumerate(table.schema.names) if name in kept.names])
    archive = open_archive(options)
    base = newest_version(archive)
    newest_archive(archive, base)
    pieces = _table_rows(table, options)
    files = []
    for _, group in groupby(enumerate(pieces), lambda item: item[0] // _BLOCK_ROWS_PER_FILE):
        files.append(_encode_rows((piece for _, piece in group), table.schema, options, archive)[0])
    planned = EncodePlan(options, archive, base, (table.schema,), (), ())
    return commit(planned, [EncodeResult(file) for file in files])


def _tasks(
    footer: Footer,
    options: EncodeOptions,
    archive: Store,
    schemas: Sequence[pa.Schema],
    source_index: int,
    schema_index: int,
    explain: bool,
) -> Iterator[EncodeTask]:
    """Splits a file where its row groups make about 16 block rows."""
    row_bytes = footer.row_bytes
    per_block = min(options.rows_per_block, options.bytes_per_block / row_bytes if row_bytes else 1 << 62)
    store = open_store(footer.file.root, options.storage)
    counts = footer.group_rows
    for first, end in row_group_ranges(counts, _BLOCK_ROWS_PER_FILE * per_block):
        yield EncodeTask(
            store,
            footer.file.path,
            first,
            end,
            sum(counts[first:end]),
            row_bytes,
            schemas[schema_index],
            archive,
            options,
            source_index,
            schema_index,
            _fingerprint(footer, options, first, end),
            explain,
        )


def _fingerprint(footer: Footer, options: EncodeOptions, first: int, end: int) -> str:
    facts: Mapping[str, object] = {
        "url": footer.file.url,
        "size": footer.file.size,
        "modified": footer.file.modified.isoformat(),
        "etag": footer.file.etag,
        "footer": footer.sha256,
        "row_groups": [first, end],
        "options": options.recorded(),
        "release": VERSION,
        "block_version": block.VERSION,
    }
    return resume.fingerprint(facts)


def _read(task: EncodeTask) -> Iterator[tuple[list[pa.ChunkedArray], int]]:
    if not len(task.schema):  # no column carries the count, the footer does
        yield from [([], task.rows)] if task.rows else []
        return
    names = task.options.columns
    batch_bytes = task.options.bytes_per_block // 4
    groups = range(task.first, task.end)
    batches = read_rows(task.source, task.path, groups, task.row_bytes, batch_bytes, names)
    yield from block_rows(batches, task.schema, task.options.rows_per_block, task.options.bytes_per_block)


def _table_rows(table: pa.Table, options: EncodeOptions) -> Iterator[tuple[list[pa.ChunkedArray], int]]:
    if not table.num_columns:
        yield from [([], table.num_rows)] if table.num_rows else []
        return
    batches = iter(table.to_batches(max_chunksize=min(options.rows_per_block, 1 << 16)))
    yield from block_rows(batches, table.schema, options.rows_per_block, options.bytes_per_block)


def _encode_rows(
    pieces: Iterator[tuple[list[pa.ChunkedArray], int]],
    schema: pa.Schema,
    options: EncodeOptions,
    archive: Store,
    explain: bool = False,
) -> tuple[DataFile, resume.Explained]:
    with data_file_writer(schema, options, explain) as writer:
        for arrays, rows in pieces:
            writer.add(arrays, rows)
        blocks, size, sha256 = writer.finish()
        path = writer.put(archive, sha256) if size else ""
        grid = tuple(tuple(row) for row in blocks)
        orders = tuple(writer.orders) if any(writer.orders) else ()
        explained = [[each.figures() for each in row] for row in writer.explained] if explain else ()
        return DataFile(path, size, sha256, 0, 0, 0, tuple(writer.rows), grid, orders=orders), explained


def _commit(archive: Store, manifest: ArchiveManifest, base: int, replace_other: bool) -> int:
    """Commits unless the newest version says the same already."""
    body = manifest.to_json()
    if base and manifest_text(read_manifest(archive, base)[1]) == manifest_text(body):
        return base
    if base and not replace_other:
        raise InvalidArgumentError(
            "this archive holds another table; choose another place, or overwrite (--overwrite)", url=archive.url
        )
    for path in lost_files(archive, manifest):
        raise ConflictError(
            f"{path} was deleted while this write was at work; run again, and vacuum with a longer grace",
            url=archive.url,
        )
    return commit_manifest(archive, body, base)


def _report(
    planned: EncodePlan, manifest: ArchiveManifest, version: int, results: Sequence[EncodeResult]
) -> EncodeReport:
    blocks = [entry for file in manifest.files for row in file.blocks for entry in row]
    size = manifests(planned.archive)[version].size
    return EncodeReport(
        archive=planned.archive.url,
        version=version,
        rows=manifest.num_rows,
        columns=len(manifest.schema),
        blocks=len(blocks),
        source_bytes=sum(entry.bytes for entry in manifest.sources),
        arrow_bytes=sum(entry.raw_bytes for entry in blocks),
        archive_bytes=size + sum(file.bytes for file in manifest.files),
        tasks=len(results),
        reused_tasks=sum(result.reused for result in results),
        already_done=planned.done or (version == planned.base and not planned.lost and not planned.options.overwrite),
        repaired=planned.lost if version == planned.base else 0,
        block_rows=sum(len(file.rows) for file in manifest.files),
        sorted_block_rows=sum(order is not None for file in manifest.files for order in file.orders),
    )
