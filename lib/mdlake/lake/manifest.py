"""Manifests: what a folder holds, committed by one create-only put.

A manifest is canonical JSON (`schemas/manifest.json`, FORMAT.md section "Archive"), compressed and named by its
version: `_manifest/00000000000000000001.json.zst`. Writers put data first, then create version N+1; the store lets
exactly one of them win. Readers take the newest version, so they see all of a commit or nothing of it.

Two kinds share the mechanism: `shards` (plain Parquet files) and `archive` (Parquet files of blocks). Nothing
in a manifest depends on when or where it was written: same content, same bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import zstandard

from mdlake.errors import (
    ConflictError,
    CorruptError,
    InvalidArgumentError,
    StoreError,
    TruncatedError,
    UnsupportedVersionError,
    located,
)
from mdlake.lake.store import ObjectInfo, Store

FORMAT = 2
IN_ORDER = 1
"""Manifests say the lowest format that has what they hold: 1, unless the order of rows is stored in blocks."""
FOLDER = "_manifest"  # with `_`: readers of Parquet folders (Arrow, Spark) skip it
KINDS = ("shards", "archive")
LARGEST = 1 << 30
"""Bytes of a manifest's text, at most."""
_NAME = re.compile(rf"{FOLDER}/(\d{{20}})\.json(\.zst)?")
_THOROUGH, _LARGE, _QUICK = 19, 1 << 22, 9


@dataclass(frozen=True)
class ShardFile:
    """One Parquet file of a shards manifest; `sha256` of its bytes in hex."""

    path: str
    bytes: int
    rows: int
    sha256: str


def shards_manifest(
    schema: pa.Schema,
    files: Sequence[ShardFile],
    *,
    options: Mapping[str, Any] | None = None,
    source: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The manifest of a folder of Parquet files. `options` and `source` must hold no secrets and no times."""
    return {
        "kind": "shards",
        "format": IN_ORDER,
        "schema": encode_schema(schema),
        "rows": sum(file.rows for file in files),
        "files": [vars(file) for file in files],
        "options": dict(options or {}),
        "source": dict(source or {}),
    }


def manifest_path(version: int) -> str:
    return f"{FOLDER}/{version:020d}.json.zst"


def is_manifest(path: str) -> bool:
    """True for the path of a committed version."""
    return _NAME.fullmatch(path) is not None


def manifests(store: Store) -> dict[int, ObjectInfo]:
    """The manifests of the committed versions, oldest first; empty where nothing was committed."""
    found = {match.group(1): info for info in store.list(FOLDER) if (match := _NAME.fullmatch(info.path))}
    return {int(version): found[version] for version in sorted(found)}


def versions(store: Store) -> list[int]:
    """The committed versions, oldest first."""
    return list(manifests(store))


def newest_version(store: Store) -> int:
    """The newest committed version, 0 where there is none."""
    return max(versions(store), default=0)


def read_manifest(store: Store, version: int | None = None) -> tuple[int, dict[str, Any]]:
    """The manifest of `version`, by default the newest, checked against its checksum."""
    known = manifests(store)
    if not known:
        raise StoreError("nothing was committed here: no manifest; check the URL", url=store.url)
    if version is not None and version not in known:
        raise InvalidArgumentError(f"there is no version {version}; there are {list(known)}", url=store.url)
    chosen = max(known) if version is None else version
    path = known[chosen].path
    with located(file=store.url_of(path)):
        return chosen, parse_manifest(store.get(path))


def commit_manifest(store: Store, manifest: Mapping[str, Any], base: int | None = None) -> int:
    """Creates the next version and returns it; `ConflictError` if another writer was first.

    `base` is the version that the work started from (0 for none): if it is no longer the newest, what was
    decided then may be wrong now, and nothing is written.
    """
    newest = newest_version(store)
    if base is not None and newest != base:
        raise ConflictError(
            f"version {newest} was committed while this write was at work; look at it, then run again",
            url=store.url,
        )
    try:
        store.put(manifest_path(newest + 1), manifest_bytes(manifest), create=True)
    except ConflictError as error:
        raise ConflictError(
            f"another writer committed version {newest + 1} first; look at it, then run again", url=store.url
        ) from error
    return newest + 1


def manifest_text(manifest: Mapping[str, Any]) -> bytes:
    """The canonical text of a manifest, with its checksum."""
    return _canonical({**manifest, "checksum": _checksum(manifest)}) + b"\n"


def manifest_bytes(manifest: Mapping[str, Any]) -> bytes:
    """The text as it is stored: one Zstandard frame."""
    text = manifest_text(manifest)
    return zstandard.ZstdCompressor(level=_THOROUGH if len(text) <= _LARGE else _QUICK).compress(text)


def parse_manifest(data: bytes) -> dict[str, Any]:
    """Reads and checks what is stored of a manifest; that of format 1 and 2 may be the text itself."""
    return _parse(_unpacked(data) if data.startswith(zstandard.FRAME_HEADER) else data)


def _unpacked(data: bytes) -> bytes:
    """The text in a frame, of which nothing is believed."""
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    try:
        size = zstandard.frame_content_size(data)
        if not 0 <= size <= LARGEST:
            raise CorruptError(f"a manifest of {size} bytes, not up to {LARGEST}")
        text = decompressor.decompress(data)
    except zstandard.ZstdError as error:
        raise CorruptError(f"the manifest is no sound Zstandard frame: {error}") from error
    if not decompressor.eof:
        raise TruncatedError(f"the manifest's frame ends after {len(data)} bytes, {len(text)} of {size} in it")
    if decompressor.unused_data:
        raise CorruptError("there is something behind the manifest's frame")
    return text


def _parse(data: bytes) -> dict[str, Any]:
    if not data.endswith(b"}\n"):
        raise TruncatedError(f"the manifest ends after {len(data)} bytes without its last line")
    try:
        manifest = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"the manifest is not JSON: {error}") from error
    if not isinstance(manifest, dict):
        raise CorruptError("the manifest is not a JSON object")
    version = manifest.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise UnsupportedVersionError(
            f"format version {version}; this release reads up to {FORMAT}: install a newer mdlake"
        )
    checksum = manifest.pop("checksum", None)
    if checksum != _checksum(manifest):
        raise CorruptError("the manifest's checksum does not match its content")
    if version not in (IN_ORDER, FORMAT) or manifest.get("kind") not in KINDS:
        raise CorruptError(f"not a manifest: format {version!r}, kind {manifest.get('kind')!r}")
    return manifest


def encode_schema(schema: pa.Schema) -> str:
    """An Arrow schema with all its metadata: its IPC message in base 64."""
    return base64.b64encode(schema.serialize()).decode()


def decode_schema(text: object) -> pa.Schema:
    try:
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(str(text), validate=True)))
    except (pa.ArrowException, binascii.Error, OSError, ValueError) as error:
        raise CorruptError(f"the schema in the manifest cannot be read: {error}") from error


def stored_schema(schema: pa.Schema) -> pa.Schema:
    """The schema as it comes back from a manifest: Arrow's IPC does not keep the inner field names of maps."""
    return decode_schema(encode_schema(schema))


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _canonical(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _checksum(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(manifest)).hexdigest()[:32]
