"""Writes the golden archive of the current format: run once for each, never again.

    python tests/make_golden_archive.py

`tests/golden/archive-*/` are archives, two versions of each, and `expected.arrow` what the newest holds (Arrow IPC):
for format 1 of every type, for format 2 with rows that were sorted, `zst` with manifests compressed. A folder that
exists is left as it is.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

import mdlake
from mdlake.lake.manifest import FORMAT
from tests.tables import followers

GOLDEN = Path(__file__).parent / "golden"


def write(folder: Path) -> None:
    if folder.exists():
        print(f"{folder} exists: a golden archive is never changed")
        return
    table = followers(600)
    mdlake.encode(table, str(folder), "fast", rows_per_block=400, reorder="reversible")
    mdlake.encode(table, str(folder), "max", rows_per_block=300, reorder="reversible", depth=0, overwrite=True)
    with pa.OSFile(str(folder / "expected.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    print(f"wrote {folder}")


if __name__ == "__main__":
    write(GOLDEN / f"archive-v{FORMAT}-zst")
