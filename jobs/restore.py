"""restore: archive -> the Parquet files it was made from, bit for bit.

    spark-submit --py-files dist/mdlake-<version>.zip jobs/restore.py ARCHIVE TARGET

options -> plan -> spread -> commit. A second run finds its work done.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.engine import SparkEngine
from jobs.options import parse_options, reported
from jobs.session import open_session
from mdlake.archive.options import RestoreOptions
from mdlake.archive.restore import commit, plan, run


def main(argv: Sequence[str]) -> None:
    options = parse_options(RestoreOptions, "restore", argv, __doc__ or "")
    planned = plan(options)
    if planned.done:
        report = commit(planned, [])
        print(f"restore: found done, {report.target} holds {report.rows:,} rows")
        return
    with open_session("mdlake restore") as spark:
        report = commit(planned, list(SparkEngine(spark.sparkContext, "restore").map(run, planned.tasks)))
    print(f"restore: {report.rows:,} rows in {report.files} files, {report.parquet_bytes:,} bytes of Parquet")


if __name__ == "__main__":
    with reported("restore"):
        main(sys.argv[1:])
