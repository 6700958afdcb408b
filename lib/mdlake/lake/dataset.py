"""Which Parquet files make a table.

A SOURCE is one Parquet file, a folder of them at any depth, or a folder with a manifest, and then only what
the newest manifest lists. Names that start with `_` or `.` are not data, as everywhere in the Hadoop world.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mdlake.errors import InvalidArgumentError, StoreError, TruncatedError
from mdlake.lake.manifest import is_manifest, read_manifest
from mdlake.lake.store import ObjectInfo, Store, open_object, open_store
from mdlake.lake.url import parse_url

SUFFIX = ".parquet"


@dataclass(frozen=True)
class SourceFile:
    """One Parquet file: the folder's URL (`root`), the path below it, and what the store says of it."""

    root: str
    path: str
    size: int
    modified: datetime
    etag: str | None

    @property
    def url(self) -> str:
        return (parse_url(self.root) / self.path).url


def list_parquet(url: str, options: Mapping[str, str] | None = None) -> list[SourceFile]:
    """The Parquet files at `url`, sorted by path; an error that says what to do if there are none."""
    single = _single_file(url, options)
    if single:
        return [single]
    store = open_store(url, options)
    objects = {info.path: info for info in store.list()}
    if not objects:
        raise StoreError("nothing is there; check the URL", url=store.url)
    _refuse_tables(store, objects)
    if any(is_manifest(path) for path in objects):
        listed = _listed(store, objects)
    else:
        listed = [info for info in objects.values() if _is_data(info.path)]
    if not listed:
        raise InvalidArgumentError(f"no {SUFFIX} files are there; check the URL", url=store.url)
    return [_source(store, info) for info in listed]


def _single_file(url: str, options: Mapping[str, str] | None) -> SourceFile | None:
    if not parse_url(url).path:
        return None
    store, name = open_object(url, options)
    return _source(store, store.head(name)) if store.exists(name) else None


def _source(store: Store, info: ObjectInfo) -> SourceFile:
    return SourceFile(store.url, info.path, info.size, info.modified, info.etag)


def _is_data(path: str) -> bool:
    return path.endswith(SUFFIX) and not any(part.startswith(("_", ".")) for part in path.split("/"))


def _refuse_tables(store: Store, paths: Mapping[str, Any]) -> None:
    """A table format's folder also holds files that are no longer part of the table."""
    if any(path.startswith("_delta_log/") for path in paths):
        raise InvalidArgumentError("this is a Delta table; write the version you want as Parquet first", url=store.url)
    if any(path.startswith("metadata/") and path.endswith(".metadata.json") for path in paths):
        raise InvalidArgumentError(
            "this is an Iceberg table; write the snapshot you want as Parquet first", url=store.url
        )


def _listed(store: Store, objects: Mapping[str, ObjectInfo]) -> list[ObjectInfo]:
    version, manifest = read_manifest(store)
    if manifest["kind"] != "shards":
        raise InvalidArgumentError("this is an archive, not Parquet: restore it first", url=store.url)
    listed = []
    for file in manifest["files"]:
        info = objects.get(file["path"])
        if info is None:
            raise StoreError(f"manifest {version} lists this file, but it is gone", url=store.url_of(file["path"]))
        if info.size != file["bytes"]:
            raise TruncatedError(
                f"manifest {version} says {file['bytes']} bytes, found {info.size}",
                file=store.url_of(info.path),
            )
        listed.append(info)
    return listed
