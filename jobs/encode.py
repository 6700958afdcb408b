"""encode: Parquet -> archive, a block per column and row group, the manifest last.

    spark-submit --py-files dist/mdlake-<version>.zip jobs/encode.py SOURCE ARCHIVE --effort default

options -> plan -> spread -> commit. A killed run continues; a second run finds its work done.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from jobs.engine import SparkEngine
from jobs.options import parse_options, reported
from jobs.session import open_session
from jobs.table_options import EncodeJobOptions
from mdlake.archive.encode import EncodeReport, EncodeResult, commit, plan, run
from mdlake.archive.reader import Archive
from mdlake.explanation import FIGURES
from mdlake.statistics import read, record

Place = tuple[str, int, int | None]
"""Of a block: its data file, which is named by its content, its row group and its position."""


def main(argv: Sequence[str]) -> None:
    options = parse_options(EncodeJobOptions, "encode", argv, __doc__ or "")
    planned = plan(options, explain=bool(options.stats))
    results: list[EncodeResult] = []
    if planned.done:
        report = commit(planned, [])
        print(f"encode: found done, version {report.version} holds {report.rows:,} rows")
    else:
        with open_session("mdlake encode") as spark:
            results += SparkEngine(spark.sparkContext, "encode").map(run, planned.tasks)
            report = commit(planned, results)
        print(
            f"encode: {report.rows:,} rows, {report.blocks} blocks, {report.source_bytes:,} bytes of Parquet "
            f"-> {report.archive_bytes:,} bytes, version {report.version}, {report.reused_tasks} tasks reused"
        )
    if options.stats:
        record_archive(report, options, results)


def record_archive(report: EncodeReport, options: EncodeJobOptions, results: Sequence[EncodeResult] = ()) -> None:
    """A row per block, and one with the bytes of the whole."""
    archive = Archive.open(options.archive, report.version, options.storage)
    explained = {**_recorded(options), **_explained(results)}
    blocks = [
        {
            "archive": report.archive,
            "file": file.path,
            "row_group": number,
            "column": field.name,
            "position": position,
            "type": str(field.type),
            "chain": block.chain,
            "rows": rows,
            "raw_bytes": block.raw_bytes,
            "encoded_bytes": block.bytes,
            **explained.get((file.path, number, position), {}),
        }
        for file in archive.manifest.files
        for number, (rows, row) in enumerate(zip(file.rows, file.blocks, strict=True))
        for position, (field, block) in enumerate(zip(archive.schema, row, strict=True))
    ]
    sizes = {"rows": report.rows, "arrow_bytes": report.arrow_bytes, "archive_bytes": report.archive_bytes}
    run_name = f"encode-{options.effort}"
    record(options.stats, "blocks", blocks, run=run_name, options=options.storage)
    record(options.stats, "tables", [{"stage": "encode", **sizes}], run=run_name, options=options.storage)


def _explained(results: Sequence[EncodeResult]) -> dict[Place, Mapping[str, Any]]:
    """What the tasks of this run say of their blocks."""
    return {
        (result.file.path, number, position): figures
        for result in results
        for number, row in enumerate(result.explained)
        for position, figures in enumerate(row)
    }


def _recorded(options: EncodeJobOptions) -> dict[Place, Mapping[str, Any]]:
    """What earlier runs said of theirs: a run that finds its work done must not take that away."""
    rows = read(options.stats, "blocks", options.storage).to_pylist()
    return {
        (row["file"], row["row_group"], row["position"]): {name: row[name] for name in FIGURES}
        for row in rows
        if row["table_bytes"] is not None
    }


if __name__ == "__main__":
    with reported("encode"):
        main(sys.argv[1:])
