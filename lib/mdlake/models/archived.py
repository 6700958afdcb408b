"""Shards that are an archive: a block row is a unit of work, decoded where it is used, only the columns asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa

from mdlake.archive.reader import Archive, read_blocks
from mdlake.errors import InvalidArgumentError
from mdlake.lake.store import Store
from mdlake.models.shards import Shards


@dataclass(frozen=True)
class ArchivedShards(Shards):
    """Files are called by their place and their content, so that their order is that of their names.

    Memory: a block row of the columns asked for and of those that they were coded with.
    """

    version: int = 0
    storage: Mapping[str, str] = field(default_factory=dict, repr=False)

    @cached_property
    def archive(self) -> Archive:
        """Opened where it is needed: what is sent to a worker is the place."""
        return Archive.open(self.store.url, self.version, self.storage)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.archive.schema.names)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "archive"}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)

    def _read(self, file: int, row_group: int, columns: Sequence[str]) -> pa.Table:
        archive = self.archive
        data, schema = archive.manifest.files[file], archive.schema
        positions = archive.positions(list(columns))
        arrays = read_blocks(archive.store, data, schema, row_group, positions)
        return pa.Table.from_arrays(arrays, schema=pa.schema([schema.field(position) for position in positions]))


def open_archived(store: Store, storage: Mapping[str, str] | None, columns: Sequence[str]) -> ArchivedShards:
    """The newest version of the archive in `store`, which must have the `columns`."""
    archive = Archive.open(store.url, None, storage)
    for column in columns:
        if column not in archive.schema.names:
            raise InvalidArgumentError(
                f"this archive has no such column; it has {', '.join(archive.schema.names)}",
                url=store.url,
                column=column,
            )
    files = archive.manifest.files
    return ArchivedShards(
        store,
        tuple(f"{number:06d}-{file.path.rpartition('/')[2]}" for number, file in enumerate(files)),
        tuple(file.bytes for file in files),
        tuple(file.rows for file in files),
        archive.version,
        dict(storage or {}),
    )
