"""What lies at a place, opened as shards: an archive, or Parquet files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mdlake.errors import InvalidArgumentError, located
from mdlake.lake.dataset import list_parquet
from mdlake.lake.manifest import FOLDER, newest_version, read_manifest
from mdlake.lake.store import open_store
from mdlake.models.archived import open_archived
from mdlake.models.shards import Shards, check_columns, open_parquet


def open_shards(url: str, options: Mapping[str, str] | None = None, columns: Sequence[str] = ()) -> Shards:
    """The shards at `url`, an archive or a folder of Parquet files; `options` are storage options.

    Every file must have the `columns`: better said now than by a worker later.

    Raises:
        StoreError: there is nothing, or no access.
        InvalidArgumentError: a file lacks a column; or archives lie below the folder.
    """
    store = open_store(url, options)
    if newest_version(store) and read_manifest(store)[1]["kind"] == "archive":
        return open_archived(store, options, columns)
    inside = next(
        (path for path, manifest, _ in (info.path.partition(f"/{FOLDER}/") for info in store.list()) if manifest), None
    )
    if inside:
        raise InvalidArgumentError(
            f"there is an archive below this folder: name one, as {store.url_of(inside)}", url=store.url
        )
    found = list_parquet(url, options)
    groups = []
    for file in found:
        with located(file=file.url), open_parquet(store, file.path) as parquet:
            metadata = parquet.metadata
            check_columns(parquet, columns)
            groups.append(tuple(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)))
    return Shards(store, tuple(file.path for file in found), tuple(file.size for file in found), tuple(groups))
