"""Work that survives a killed driver: a small file per finished task, until the commit.

`tasks/<fingerprint>.json` holds a task's result. The fingerprint covers whatever decides the result: the source
file as the store describes it, its row groups, the options, the release. A rerun with the same fingerprint takes
the result instead of encoding again. A damaged or old file is no result; then the work is done again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from mdlake.archive.layout import DataFile, file_from_json, file_to_json
from mdlake.errors import CorruptError, StoreError
from mdlake.lake.faults import is_missing
from mdlake.lake.store import ObjectInfo, Store

FOLDER = "tasks"
Explained = Sequence[Sequence[Mapping[str, Any]]]
"""Why blocks are as they are, by block row and column, as `explanation.Explanation.figures` has it."""
FRESH = timedelta(hours=12)
"""A result older than this is not used: `vacuum` may be about to delete its data file."""


def fingerprint(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def sidecar_path(key: str) -> str:
    return f"{FOLDER}/{key}.json"


def save(store: Store, key: str, file: DataFile, explained: Explained = ()) -> None:
    chains = sorted({block.chain for row in file.blocks for block in row})
    numbers = {chain: i for i, chain in enumerate(chains)}
    body = {"chains": chains, "file": file_to_json(file, numbers), "explained": explained}
    store.put(sidecar_path(key), json.dumps({**body, "checksum": fingerprint(body)}, sort_keys=True).encode())


def load(store: Store, key: str, columns: int) -> tuple[DataFile, Explained] | None:
    """The saved result of the task `key`, if there is one and its data file is whole."""
    info = _head(store, sidecar_path(key))
    if info is None or datetime.now(UTC) - info.modified > FRESH:
        return None
    try:
        body = json.loads(store.get(info.path))
        if body.pop("checksum") != fingerprint(body):
            return None
        file, explained = file_from_json(body["file"], body["chains"], columns), body["explained"]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, CorruptError):
        return None
    data = _head(store, file.path) if file.path else None
    return (file, explained) if not file.path or (data and data.size == file.bytes) else None


def _head(store: Store, path: str) -> ObjectInfo | None:
    try:
        return store.head(path)
    except StoreError as error:
        if is_missing(error):
            return None
        raise
