"""vacuum: delete what no manifest within the retention refers to. plan -> commit.

Manifests go before the data that only they refer to, so that no manifest ever names a file that was deleted on
purpose. What is younger than the grace stays: it may belong to a writer that has not committed yet.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from mdlake.archive import resume
from mdlake.archive.layout import DATA_FOLDER, ArchiveManifest
from mdlake.archive.options import VacuumOptions
from mdlake.errors import InvalidArgumentError
from mdlake.lake.manifest import manifests, read_manifest
from mdlake.lake.store import ObjectInfo, Store, open_store

_OURS = re.compile(rf"{DATA_FOLDER}/[0-9a-f]{{32}}\.parquet|{resume.FOLDER}/[0-9a-f]{{64}}\.json")


@dataclass(frozen=True)
class VacuumPlan:
    """What will be deleted: old manifests first, then files."""

    store: Store
    manifests: tuple[ObjectInfo, ...]
    files: tuple[ObjectInfo, ...]
    dry_run: bool


@dataclass(frozen=True)
class VacuumReport:
    """What was deleted, or with `dry_run` would be."""

    archive: str
    manifests: int
    files: int
    bytes: int
    dry_run: bool


def vacuum(options: VacuumOptions) -> VacuumReport:
    """Deletes old manifests and unreferenced files of an archive."""
    return commit(plan(options))


def plan(options: VacuumOptions) -> VacuumPlan:
    """Finds what nothing refers to."""
    store = open_store(options.archive, options.storage)
    if read_manifest(store)[1]["kind"] != "archive":
        raise InvalidArgumentError("this folder holds shards, not an archive", url=store.url)
    now = datetime.now(UTC)
    known = manifests(store)
    old = [v for v in list(known)[:-1] if now - known[v].modified > options.retention]
    kept = [ArchiveManifest.from_json(read_manifest(store, v)[1]) for v in known if v not in old]
    referenced = {file.path for manifest in kept for file in manifest.files}
    files = tuple(
        info
        for folder in (DATA_FOLDER, resume.FOLDER)
        for info in store.list(folder)
        if _OURS.fullmatch(info.path) and info.path not in referenced and now - info.modified > options.grace
    )
    return VacuumPlan(store, tuple(known[v] for v in old), files, options.dry_run)


def commit(planned: VacuumPlan) -> VacuumReport:
    """Deletes, unless it is a dry run."""
    doomed = (*planned.manifests, *planned.files)
    if not planned.dry_run:
        planned.store.delete(info.path for info in doomed)
    size = sum(info.size for info in doomed)
    return VacuumReport(planned.store.url, len(planned.manifests), len(planned.files), size, planned.dry_run)
