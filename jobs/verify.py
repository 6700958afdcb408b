"""verify: prove that an archive is whole and, given a source, that it equals it bit for bit.

    spark-submit --py-files dist/mdlake-<version>.zip jobs/verify.py ARCHIVE --source SOURCE

options -> plan -> spread -> commit. Ends with status 1 if there is a difference.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.engine import SparkEngine
from jobs.options import parse_options, reported
from jobs.session import open_session
from mdlake.archive.options import VerifyOptions
from mdlake.archive.verify import commit, plan, run


def main(argv: Sequence[str]) -> None:
    options = parse_options(VerifyOptions, "verify", argv, __doc__ or "")
    planned = plan(options)
    with open_session("mdlake verify") as spark:
        report = commit(planned, list(SparkEngine(spark.sparkContext, "verify").map(run, planned.tasks)))
    if report.difference is not None:
        sys.exit(f"verify: {report.difference}")
    against = ", ".join((" and equals the source bit for bit", *report.allowed)) if report.compared else ""
    print(f"verify: version {report.version} is whole{against}: {report.rows:,} rows, {report.blocks} blocks")


if __name__ == "__main__":
    with reported("verify"):
        main(sys.argv[1:])
