"""The golden blocks, and what each decodes to."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

GOLDEN = Path(__file__).parent / "golden"
BLOCKS = sorted(GOLDEN.glob("v*/*.mdlb"))
every_block = pytest.mark.parametrize("path", BLOCKS, ids=lambda path: f"{path.parent.name}/{path.stem}")


def expected_of(path: Path) -> list[pa.Array]:
    """The array of a block, then the columns that it was coded with."""
    with pa.OSFile(str(path.with_suffix(".arrow"))) as source:
        return [column.combine_chunks() for column in pa.ipc.open_file(source).read_all().columns]
