"""What ingest tells of itself: the statistics it records, and a few lines for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jobs.cleaning import Counts
from jobs.ingest_options import IngestOptions
from jobs.shards import Shard
from mdlake.errors import MdlakeError
from mdlake.lake.url import join_url, parse_url
from mdlake.statistics import record


def record_ingest(
    options: IngestOptions,
    counted: Counts,
    profiled: Sequence[Mapping[str, object]],
    shards: Sequence[Shard],
) -> None:
    """Records the kinds `ingest`, `profile` and `tables`; raises if a row of the source is unaccounted for."""
    rows = sum(shard.rows for shard in shards)
    run = options.run_name()
    stats = options.stats or join_url(parse_url(options.target).parent.url, "stats")
    target = parse_url(options.target).url

    def keep(kind: str, records: Sequence[Mapping[str, object]]) -> None:
        record(stats, kind, records, run=run, options=options.storage)

    keep("ingest", outcomes(options, counted, shards))
    sizes = [sum(column) for column in zip(*(shard.column_bytes for shard in shards), strict=True)]
    found = [
        {
            "dataset": target,
            "bad_values": counted.bad_values.get(str(column["column"]), 0),
            "shard_bytes": size,
            **column,
        }
        for column, size in zip(profiled, sizes or [0] * len(profiled), strict=True)
    ]
    keep("profile", found)
    if options.compare:
        whole = {
            "arrow_bytes": sum(shard.arrow_bytes for shard in shards),
            "parquet_snappy_bytes": sum(shard.snappy for shard in shards),
            "parquet_zstd9_bytes": sum(shard.zstd9 for shard in shards),
        }
        keep("tables", [{"stage": "ingest", "rows": rows, **whole}])


def outcomes(options: IngestOptions, counted: Counts, shards: Sequence[Shard]) -> list[dict]:
    """The rows of the kind `ingest`: what was read equals what was kept and what was dropped, and why."""
    kept, dropped = sum(shard.rows for shard in shards), sum(counted.dropped.values())
    if counted.read != kept + dropped:
        raise MdlakeError(f"{counted.read} rows were read, but {kept} were written and {dropped} dropped")
    rows: list[dict] = [{"outcome": "read", "name": None, "rows": counted.read}]
    for name in options.split:
        own = [shard for shard in shards if shard.split == name]
        sizes = {"files": len(own), "bytes": sum(shard.bytes for shard in own)}
        rows.append({"outcome": "kept", "name": name, "rows": sum(shard.rows for shard in own), **sizes})
    rows += [{"outcome": "dropped", "name": name, "rows": n} for name, n in sorted(counted.dropped.items())]
    return [{"source": options.source, **row} for row in rows]


def summary(shards: Sequence[Shard], counted: Counts, options: IngestOptions) -> str:
    """One line per split, and one of what is not in them."""
    lines = []
    for name in options.split:
        own = [shard for shard in shards if shard.split == name]
        rows, size = sum(shard.rows for shard in own), sum(shard.bytes for shard in own)
        lines.append(f"ingest: {name}: {rows:,} rows, {len(own)} shards, {size:,} bytes")
    dropped = [f"{n:,} rows dropped ({reason})" for reason, n in sorted(counted.dropped.items())]
    nulled = [f"{n:,} values of {name} became null" for name, n in sorted(counted.bad_values.items()) if n]
    lost = ", ".join([*dropped, *nulled]) or "none was dropped, no value became null"
    lines.append(f"ingest: of {counted.read:,} rows read: {lost}")
    return "\n".join(lines)
