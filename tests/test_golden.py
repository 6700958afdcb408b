"""Every block that a released version wrote still decodes to the same bits."""

from __future__ import annotations

from pathlib import Path

from golden_blocks import BLOCKS, every_block, expected_of

from mdlake.block import VERSION, decode_array, describe
from mdlake.columns import flatten
from mdlake.encodings import ENCODINGS
from mdlake.parents import Column
from mdlake.streams import same


@every_block
def test_a_golden_block_decodes_to_the_same_bits(path: Path) -> None:
    expected, *beside = expected_of(path)
    parents = {place: column for place, array in enumerate(beside) if (column := Column.of(array))}
    array = decode_array(path.read_bytes(), expected.type, length=len(expected), parents=parents)
    pairs = list(zip(flatten(array), flatten(expected), strict=True))
    assert array.type.equals(expected.type)
    assert all(left[0] == right[0] and same(left[1], right[1]) for left, right in pairs)


def test_every_version_has_golden_blocks_and_every_encoding_one() -> None:
    assert {path.parent.name for path in BLOCKS} == {f"v{version}" for version in range(1, VERSION + 1)}
    chains = " ".join(stream.chain for path in BLOCKS for stream in describe(path.read_bytes()).streams)
    assert [e.name for e in ENCODINGS.values() if e.name not in chains] == []
