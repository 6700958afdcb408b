"""ingest: any source that Spark reads -> typed Parquet shards, a folder and a manifest per split.

    spark-submit --py-files dist/mdlake-<version>.zip jobs/ingest.py SOURCE TARGET --format csv ...

options -> clean -> count -> write -> commit. Every row of the source is in a shard or dropped for a counted
reason. The same source and options give the same shards, byte for byte, on any cluster; a second run finds
that its work is done and says so.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.storagelevel import StorageLevel

from jobs.cleaning import REASON, SPLIT, SPREAD, Counts, counts, mark_duplicates, ordering, typed
from jobs.columns import RESERVED, named
from jobs.ingest_options import IngestOptions
from jobs.ingest_report import record_ingest, summary
from jobs.options import parse_options, reported
from jobs.profiles import profile
from jobs.session import open_session
from jobs.shards import RESULT, Shard, ShardWriter
from jobs.sources import Source, fingerprint, open_source
from mdlake.errors import InvalidArgumentError
from mdlake.lake.manifest import (
    ShardFile,
    commit_manifest,
    decode_schema,
    manifests,
    newest_version,
    read_manifest,
    shards_manifest,
)
from mdlake.lake.store import Store, open_store
from mdlake.lake.url import join_url

_SHARD = f"{RESERVED}shard"
WHOLE = ""  # the folder above those of the splits
_SPREAD_BIT = 20  # the hash's low bits may already have chosen the split


def main(argv: Sequence[str]) -> None:
    options = parse_options(IngestOptions, "ingest", argv, __doc__ or "")
    state = fingerprint(options)
    lineage = {
        "name": PurePosixPath(options.source).name,
        "format": options.format,
        "fingerprint": state,
        "options": options.digest(),
    }
    check_target(options, lineage)
    if state is not None and is_done(options, lineage):
        print(f"ingest: found done, {options.target} holds the shards of this source by these options")
        return
    with open_session("mdlake ingest") as spark:
        print(summary(*ingest(open_source(spark, options), options, lineage), options))


def ingest(source: Source, options: IngestOptions, lineage: Mapping[str, object]) -> tuple[list[Shard], Counts]:
    """Writes and commits the shards and records the statistics; returns the shards, split by split, and the counts."""
    bases = {name: newest_version(folder(options, name)) for name in (*options.split, WHOLE)}
    read = typed(source.frame, source.columns, source.order, options).persist(StorageLevel.MEMORY_AND_DISK)
    try:
        rows = mark_duplicates(read, source.columns, source.order, options)
        counted = counts(rows)
        kept = rows.where(named(REASON).isNull())
        shards = write(kept, source, options, [counted.kept.get(i, 0) for i in range(len(options.split))])
        fields = [field for field in rows.schema.fields if field.name in source.columns]
        profiled = profile(kept, fields, sum(counted.kept.values()), options.profile_rows)
    finally:
        read.unpersist()
    record_ingest(options, counted, profiled, shards)
    commit(shards, options, lineage, bases)
    if options.overwrite:
        delete_older(shards, options)
    return shards, counted


def write(rows: DataFrame, source: Source, options: IngestOptions, split_rows: Sequence[int]) -> list[Shard]:
    """One task per shard. A row's shard depends on its content and on how many shards its split has."""
    shards = [math.ceil(count / options.rows_per_shard) for count in split_rows]
    names = [(name, i) for name, n in zip(options.split, shards, strict=True) for i in range(n)]
    first = [sum(shards[:i]) for i in range(len(shards))]
    within = F.pmod(F.shiftrightunsigned(named(SPREAD), _SPREAD_BIT), _by_split([max(1, n) for n in shards]))
    fields = [field for field in rows.schema.fields if field.name in source.columns]
    spread = rows.withColumn(_SHARD, (_by_split(first) + within).cast("int"))
    ordered = spread.repartitionById(max(1, len(names)), _SHARD).sortWithinPartitions(
        *ordering(fields, source.order, options.sort)
    )
    store = open_store(options.target, options.storage)
    writer = ShardWriter(store, names, source.columns, options.row_group_rows, options.compare)
    chosen = ordered.select(_SHARD, *(named(name).alias(f"c{i}") for i, name in enumerate(source.columns)))
    written = [Shard(**json.loads(row.shard)) for row in chosen.mapInArrow(writer, RESULT).collect()]  # type: ignore[arg-type]
    return sorted(written, key=lambda shard: (list(options.split).index(shard.split), shard.path))


def commit(
    shards: Sequence[Shard], options: IngestOptions, lineage: Mapping[str, object], bases: Mapping[str, int]
) -> None:
    """A manifest per split, and last one of the whole table; none where the newest says the same already."""
    for name in (*options.split, WHOLE):
        own = [shard for shard in shards if name in (shard.split, WHOLE)]
        files = [ShardFile(shard.path_below(name), shard.bytes, shard.rows, shard.sha256) for shard in own]
        schema = decode_schema((own or shards)[0].schema)
        manifest = shards_manifest(schema, files, options={"split": name}, source=lineage)
        store = folder(options, name)
        if not bases[name] or read_manifest(store)[1] != manifest:
            commit_manifest(store, manifest, base=bases[name])


def check_target(options: IngestOptions, lineage: Mapping[str, object]) -> None:
    """Refuses a target that holds something else, unless that is to be overwritten."""
    whole = folder(options, WHOLE)
    if not newest_version(whole):
        return
    found = read_manifest(whole)[1]
    if found["kind"] != "shards":
        raise InvalidArgumentError("the target holds an archive, not shards; choose another", url=whole.url)
    if found["source"] != lineage and not options.overwrite:
        raise InvalidArgumentError(
            "the target holds shards of another or a changed source, or of other options; choose another, "
            "or add --overwrite",
            url=whole.url,
        )


def delete_older(shards: Sequence[Shard], options: IngestOptions) -> None:
    """Deletes what earlier runs committed and the newest did not: first their manifests, then their shards."""
    whole = folder(options, WHOLE)
    committed = manifests(whole)
    older = {version: committed[version] for version in list(committed)[:-1]}
    listed = {file["path"] for version in older for file in read_manifest(whole, version)[1]["files"]}
    for split in sorted({*options.split, *(path.rpartition("/")[0] for path in listed)} - {WHOLE}):
        store = folder(options, split)
        known = [info.path for info in manifests(store).values()]
        store.delete(known[:-1] if split in options.split else known)
    whole.delete(info.path for info in older.values())
    whole.delete(sorted(listed - {shard.path for shard in shards}))


def is_done(options: IngestOptions, lineage: Mapping[str, object]) -> bool:
    """Whether the whole table's newest manifest, committed last, is of this source and these options, and all
    that it lists is there."""
    store = folder(options, WHOLE)
    if not newest_version(store):
        return False
    manifest = read_manifest(store)[1]
    sizes = {info.path: info.size for info in store.list()}
    there = all(sizes.get(file["path"]) == file["bytes"] for file in manifest["files"])
    return there and manifest["source"] == lineage


def folder(options: IngestOptions, split: str) -> Store:
    """Where the shards of a split go, or all of them."""
    return open_store(join_url(options.target, split), options.storage)


def _by_split(values: Sequence[int]) -> Column:
    """The value of the row's split."""
    return F.element_at(F.array(*map(F.lit, values)), named(SPLIT) + 1)


if __name__ == "__main__":
    with reported("ingest"):
        main(sys.argv[1:])
