"""Decisions of an encode plan: what is refused, which schema the files share, which row groups make a task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from mdlake import block
from mdlake.archive.layout import DATA_FOLDER, REPAIR, ArchiveManifest
from mdlake.archive.options import EncodeOptions
from mdlake.archive.reorder import take
from mdlake.archive.source import Footer, join_chunks
from mdlake.errors import InvalidArgumentError, StoreError, advised, located
from mdlake.lake.manifest import newest_version, read_manifest
from mdlake.lake.store import Store, open_store
from mdlake.lake.url import parse_url


def select_columns(schema: pa.Schema, columns: tuple[str, ...] | None) -> pa.Schema:
    """The columns of these names, in the schema's order; all by default."""
    if columns is None:
        return schema
    missing = sorted(set(columns) - set(schema.names))
    if missing or not columns:
        raise InvalidArgumentError(f"there are no columns {missing}; there are {schema.names}")
    return pa.schema([column for column in schema if column.name in columns], schema.metadata)


def shared_schemas(
    footers: Sequence[Footer], columns: tuple[str, ...] | None
) -> tuple[tuple[pa.Schema, ...], list[int]]:
    """The distinct schemas, and each file's index among them. They may differ in metadata alone."""
    found: list[pa.Schema] = []
    numbers = []
    for footer in footers:
        schema = select_columns(footer.schema, columns)
        if found and not schema.equals(found[0], check_metadata=False):
            raise InvalidArgumentError(_difference(found[0], schema), file=footer.file.url)
        same = (i for i, known in enumerate(found) if known.equals(schema, check_metadata=True))
        number = next(same, len(found))
        if number == len(found):
            found.append(schema)
        numbers.append(number)
    return tuple(found), numbers


def _difference(expected: pa.Schema, found: pa.Schema) -> str:
    for i, (one, other) in enumerate(zip(expected, found, strict=False)):
        if not one.equals(other):
            return f"column {i} is {other}, in the first file it is {one}; all files must have the same columns"
    return f"has {len(found)} columns, the first file has {len(expected)}; all files must have the same"


def check_error_bounds(schema: pa.Schema, options: EncodeOptions) -> None:
    """Refuses bounds on columns that are not there, or that are no floats."""
    for name in options.error_bounds:
        fields = [field for field in schema if field.name == name]
        if not fields:
            raise InvalidArgumentError(
                f"max_error names a column that is not there; there are {schema.names}", column=name
            )
        for field in fields:
            if not pa.types.is_floating(field.type):
                raise InvalidArgumentError(
                    f"max_error is for columns of float16, float32 or float64, this one is {field.type}; leave it out",
                    column=name,
                )


def check_reorder(schema: pa.Schema, options: EncodeOptions) -> None:
    """Refuses types whose rows cannot be put in another order, before anything is read."""
    if options.reorder != "none":
        for field, column in zip(schema, schema.empty_table().columns, strict=True):
            with located(column=field.name):
                take(join_chunks(column), np.zeros(0, np.int64))


def row_group_ranges(counts: Sequence[int], most: float) -> Iterator[tuple[int, int]]:
    """Ranges of row groups of at most `most` rows, or of one row group; one empty range if there are none."""
    first = rows = 0
    for i, count in enumerate(counts):
        if i > first and rows + count > most:
            yield first, i
            first, rows = i, 0
        rows += count
    yield first, len(counts)


def check_options(options: EncodeOptions) -> None:
    """Refuses what cannot be done before anything is read."""
    if options.effort not in block.EFFORTS:
        raise InvalidArgumentError(f"effort {options.effort!r} is unknown; choose one of {', '.join(block.EFFORTS)}")
    for coder in options.coders or ():
        if coder not in block.CODERS:
            raise InvalidArgumentError(f"coder {coder!r} is unknown; choose of {', '.join(block.CODERS)}")
    if options.source:
        source, archive = parse_url(options.source).url, parse_url(options.archive).url
        if f"{archive}/".startswith(f"{source}/"):
            raise InvalidArgumentError("the archive would lie inside its source; choose a place beside it")


def open_archive(options: EncodeOptions) -> Store:
    """The store to write to; refuses a place among the files of another archive."""
    place = parse_url(options.archive)
    folders = place.path.split("/")
    for i in (i for i, folder in enumerate(folders) if folder == DATA_FOLDER):
        around = replace(place, path="/".join(folders[:i])).url
        if _holds_archive(open_store(around, options.storage)):
            raise InvalidArgumentError(
                f"this place is among the files of the archive {around}; choose one beside it", url=place.url
            )
    return open_store(options.archive, options.storage)


def _holds_archive(store: Store) -> bool:
    try:
        return newest_version(store) > 0
    except StoreError:  # a folder far above may be closed to whoever writes here
        return False


def newest_archive(archive: Store, base: int) -> ArchiveManifest | None:
    """The manifest of version `base`; None if it is 0."""
    if not base:
        return None
    with advised(REPAIR):
        body = read_manifest(archive, base)[1]
        if body["kind"] != "archive":
            raise InvalidArgumentError("this folder holds shards, not an archive; choose another", url=archive.url)
        with located(file=archive.url):
            return ArchiveManifest.from_json(body)


def lost_files(archive: Store, manifest: ArchiveManifest) -> list[str]:
    """The data files of the manifest that are not there, or not with their size."""
    present = {info.path: info.size for info in archive.list(DATA_FOLDER)}
    return [file.path for file in manifest.files if file.path and present.get(file.path) != file.bytes]
