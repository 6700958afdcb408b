"""What a finished step leaves: one JSON object, written last, that says what it was made from.

A step that finds its record with the same fingerprint has nothing to do. The fingerprint is a hash of the
options and of the inputs (files by name and size, earlier steps by their fingerprints), so a changed option
or a changed input is new work. No times, no paths of machines, no secrets.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from mdlake.errors import CorruptError, InvalidArgumentError, located
from mdlake.lake.store import Store


def folder_of(name: str) -> str:
    """Where a network's training lies in a lake, its checkpoints, the model, the record: as `teacher`."""
    return f"checkpoints/{name}"


def record_of(name: str) -> str:
    return f"{folder_of(name)}/record.json"


def fingerprint(**parts: Any) -> str:
    """A short hash of JSON-able parts; the same parts give the same hash, in any order."""
    return hashlib.sha256(_canonical(parts)).hexdigest()[:16]


def write_record(store: Store, path: str, fingerprint: str, **results: Any) -> dict[str, Any]:
    """Commits a step: its results become visible with this one put."""
    record = {"fingerprint": fingerprint, **results}
    store.put(path, _canonical(record) + b"\n")
    return record


def find_record(store: Store, path: str, fingerprint: str) -> dict[str, Any] | None:
    """The record of the very same step, else None."""
    if not store.exists(path):
        return None
    record = _parse(store, path)
    return record if record.get("fingerprint") == fingerprint else None


def need_record(store: Store, path: str, step: str) -> dict[str, Any]:
    """The record that an earlier step left; an error that says which to run if it did not."""
    if not store.exists(path):
        raise InvalidArgumentError(
            f"{step} has not finished here: run `python -m ray_tasks.{step}` first", file=store.url_of(path)
        )
    return _parse(store, path)


def _parse(store: Store, path: str) -> dict[str, Any]:
    with located(file=store.url_of(path)):
        try:
            record = json.loads(store.get(path))
        except ValueError as error:
            raise CorruptError(f"the record is not JSON: {error}") from error
        if not isinstance(record, dict) or "fingerprint" not in record:
            raise CorruptError("the record has no fingerprint")
        return record


def _canonical(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
