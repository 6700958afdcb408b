"""restore: an archive back to Parquet, bit for bit. plan -> tasks -> commit.

A folder gets the source's own file names (a source file that became several data files becomes `name-00000`,
`name-00001`, ...) and, last, a shards manifest. A target ending in `.parquet` becomes one file. Nothing is
overwritten, and no partial file is ever visible.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from mdlake.archive.layout import ArchiveManifest, DataFile
from mdlake.archive.options import RestoreOptions
from mdlake.archive.reader import Archive, read_blocks
from mdlake.archive.spread import Progress, Task, spread
from mdlake.engine import Engine
from mdlake.errors import InvalidArgumentError
from mdlake.lake.dataset import SUFFIX
from mdlake.lake.manifest import (
    ShardFile,
    commit_manifest,
    manifest_text,
    newest_version,
    read_manifest,
    shards_manifest,
    stored_schema,
)
from mdlake.lake.store import Store, open_object, open_store


@dataclass(frozen=True)
class RestoreTask(Task):
    """Data files that become one Parquet file at `path` of `target`."""

    archive: Store
    files: tuple[DataFile, ...]
    columns: tuple[int, ...]
    schema: pa.Schema  # of the whole archive, with the metadata of the file to write
    target: Store
    path: str
    compression: str

    @property
    def name(self) -> str:
        return f"restore {self.path}"


@dataclass(frozen=True)
class RestorePlan:
    """`done` if the target already holds this version of the archive."""

    options: RestoreOptions
    target: Store
    single_file: bool
    schema: pa.Schema
    manifest: Mapping[str, Any]  # what the target's manifest will say beside its files
    tasks: tuple[RestoreTask, ...]
    done: bool = False


@dataclass(frozen=True)
class RestoreReport:
    """What lies at the target."""

    target: str
    rows: int
    files: int
    parquet_bytes: int
    already_done: bool


def restore(options: RestoreOptions, engine: Engine | None = None, progress: Progress | None = None) -> RestoreReport:
    """Writes the archive's rows as Parquet to `options.target`."""
    planned = plan(options)
    return commit(planned, spread(run, planned.tasks, engine, progress))


def plan(options: RestoreOptions) -> RestorePlan:
    """Decides which file gets which blocks; writes nothing."""
    archive = Archive.open(options.archive, options.version, options.storage)
    manifest = archive.manifest
    columns = tuple(archive.positions(options.columns))
    for schema in manifest.schemas:
        _check_carried(_subset(schema, columns))
    if not columns and manifest.num_rows:
        raise InvalidArgumentError("Parquet cannot hold rows without columns; use mdlake.open(...).to_table()")
    single = options.target.endswith(SUFFIX)
    opener = open_object if single else lambda url, storage: (open_store(url, storage), "")
    target, name = opener(options.target, options.storage)
    groups = [(name, manifest.files)] if single else _named(manifest)
    tasks = tuple(
        RestoreTask(archive.store, files, columns, manifest.schemas[files[0].schema], target, path, options.compression)
        for path, files in groups
    )
    lineage = {
        "source": {"archive": hashlib.sha256(manifest_text(manifest.to_json())).hexdigest()},
        "options": {"columns": list(columns), "compression": options.compression},
    }
    done = _check_target(target, lineage, [path for path, _ in groups], single)
    schema = _subset(manifest.schema, columns)
    return RestorePlan(options, target, single, schema, lineage, () if done else tasks, done)


def run(task: RestoreTask) -> ShardFile:
    """Writes one Parquet file, a row group per block row."""
    schema = _subset(task.schema, task.columns)
    with task.target.writer(task.path) as sink:
        hashed = _Hashed(sink)
        with _parquet_writer(cast(BinaryIO, hashed), schema, task.compression) as writer:
            for file in task.files:
                for row, rows in enumerate(file.rows):
                    arrays = read_blocks(task.archive, file, task.schema, row, task.columns)
                    writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=max(1, rows))
    rows = sum(sum(file.rows) for file in task.files)
    return ShardFile(task.path, hashed.size, rows, hashed.digest.hexdigest())


def commit(planned: RestorePlan, results: Sequence[ShardFile]) -> RestoreReport:
    """Commits the folder's manifest; a single file is there already."""
    if planned.done:
        results = [ShardFile(**file) for file in read_manifest(planned.target)[1]["files"]]
    elif not planned.single_file:
        commit_manifest(planned.target, shards_manifest(planned.schema, results, **planned.manifest), base=0)
    size, rows = sum(file.bytes for file in results), sum(file.rows for file in results)
    return RestoreReport(planned.options.target, rows, len(results), size, planned.done)


def _named(manifest: ArchiveManifest) -> list[tuple[str, tuple[DataFile, ...]]]:
    """Each data file with the path of the Parquet file that it becomes."""
    parts = Counter(file.source for file in manifest.files)
    seen: Counter[int] = Counter()
    names = []
    for file in manifest.files:
        path = manifest.sources[file.source].path if manifest.sources else f"part{SUFFIX}"
        part = f"-{seen[file.source]:05d}" if parts[file.source] > 1 else ""
        seen[file.source] += 1
        names.append((f"{path.removesuffix(SUFFIX)}{part}{SUFFIX}", (file,)))
    return names


def _subset(schema: pa.Schema, columns: Sequence[int]) -> pa.Schema:
    return pa.schema([schema.field(i) for i in columns], schema.metadata)


def _parquet_writer(sink: BinaryIO, schema: pa.Schema, compression: str) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        sink,
        schema,
        compression=compression,
        use_compliant_nested_type=False,  # keeps the names of list items as they are
        write_page_checksum=True,
    )


def _check_carried(schema: pa.Schema) -> None:
    """Parquet turns some Arrow types into others; then it could not give back what the archive holds."""
    file = io.BytesIO()
    advice = "restore other columns, or use mdlake.open(...).to_table()"
    try:
        _parquet_writer(cast(BinaryIO, file), schema, "none").close()
    except (pa.ArrowException, OSError) as error:
        raise InvalidArgumentError(f"Parquet cannot hold these types: {error}; {advice}") from error
    file.seek(0)
    carried = stored_schema(pq.read_schema(file))
    for ours, theirs in zip(schema, carried, strict=True):
        if not ours.equals(theirs, check_metadata=True):
            raise InvalidArgumentError(f"Parquet would turn {ours} into {theirs}; {advice}")


def _check_target(target: Store, lineage: Mapping[str, Any], paths: Sequence[str], single: bool) -> bool:
    """True if the target already is the result; an error if anything else is there."""
    if single:
        if target.exists(paths[0]):
            raise InvalidArgumentError(
                "there is a file already; delete it or choose another target", file=target.url_of(paths[0])
            )
        return False
    if newest_version(target):
        body = read_manifest(target)[1]
        if all(body.get(key) == value for key, value in lineage.items()):
            return True
        raise InvalidArgumentError("this folder holds other data; choose another target", url=target.url)
    others = [info.path for info in target.list() if info.path not in paths]  # ours: from a killed run
    if others:
        raise InvalidArgumentError(f"the folder is not empty, it has {others[0]!r}; choose another", url=target.url)
    return False


class _Hashed(io.RawIOBase):
    """A sink that counts and hashes what passes."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink, self.size, self.digest = sink, 0, hashlib.sha256()

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size

    def write(self, data: Any) -> int:
        self.digest.update(data)
        self._sink.write(data)
        self.size += memoryview(data).nbytes
        return memoryview(data).nbytes
