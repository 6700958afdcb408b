"""report: the lake's statistics -> one self-contained report.html in the lake.

    spark-submit --py-files dist/mdlake-<version>.zip jobs/report.py LAKE

It needs no executor: `python jobs/report.py LAKE` does the same.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jobs.options import parse_options, reported
from mdlake.statistics.report import write_report


@dataclass(frozen=True)
class ReportOptions:
    lake: str = field(metadata={"help": "folder or URL that holds stats/"})
    storage: Mapping[str, str] = field(
        default_factory=dict, repr=False, metadata={"help": "option of the object store, as endpoint=URL"}
    )


def main(argv: Sequence[str]) -> None:
    options = parse_options(ReportOptions, "report", argv, __doc__ or "")
    url, size = write_report(options.lake, options.storage)
    print(f"report: {url}, {size:,} bytes")


if __name__ == "__main__":
    with reported("report"):
        main(sys.argv[1:])
