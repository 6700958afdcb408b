"""FORMAT.md is exact: `reference`, a decoder written from it alone, reads whatever this library wrote or writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from reference.archive import read_archive
from reference.block import CODERS as REFERENCE
from reference.columns import decode_column, parent_of_column, values_of

from mdlake.block import EFFORTS, encode_array
from mdlake.coding import CODERS

GOLDEN = Path(__file__).parent / "golden"
BLOCKS = sorted(GOLDEN.glob("v*/*.mdlb"))


@pytest.mark.parametrize("path", BLOCKS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_reference_decodes_every_golden_block(path: Path) -> None:
    with pa.OSFile(str(path.with_suffix(".arrow"))) as source:
        expected, *beside = (column.combine_chunks() for column in pa.ipc.open_file(source).read_all().columns)
    parents = {place: parent_of_column(values_of(array), array.type) for place, array in enumerate(beside)}
    assert decode_column(path.read_bytes(), expected.type, parents) == values_of(expected)


@pytest.mark.parametrize("number", [1, 2])
def test_the_reference_reads_every_golden_archive(number: int) -> None:
    folder = GOLDEN / f"archive-v{number}"
    with pa.OSFile(str(folder / "expected.arrow")) as source:
        expected = pa.ipc.open_file(source).read_all()
    schema, columns = read_archive(folder)
    assert schema.equals(expected.schema, check_metadata=True)
    assert columns == [[value for chunk in column.chunks for value in values_of(chunk)] for column in expected.columns]


def arrays() -> dict[str, pa.Array]:
    n = np.arange(700)
    noise = (n.astype(np.uint64) + 1) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(40)
    adjectives = "quick", "brown", "lazy", "old", "good"
    return {
        "ramp": pa.array(n * 3600 - 9, mask=n % 50 == 3),
        "noise": pa.array(noise),
        "bytes": pa.array((noise % 11).astype(np.uint8)),
        "series": pa.array((1000 * np.sin(n / 20)).astype(np.int64) + (noise % 5).astype(np.int64)),
        "decimals": pa.array(np.where(n % 90 == 7, np.nan, (noise % 5000) / 100)),
        "floats": pa.array((noise / 7).astype(np.float32)),
        "words": pa.array([f"the {adjectives[i * i % 5]} fox of {i % 3}" for i in n.tolist()]),
        "times": pa.array([f"2013-{i // 60 + 1:02d}-{i % 28 + 1:02d}T{i % 24:02d}:{i % 60:02d}" for i in n.tolist()]),
        "lists": pa.array([None if i % 9 == 8 else list(range(i % 4)) for i in n.tolist()], pa.list_(pa.int16())),
    }


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("name", arrays())
def test_the_reference_decodes_what_each_effort_writes(name: str, effort: str) -> None:
    array = arrays()[name]
    assert decode_column(encode_array(array, effort), array.type, {}) == values_of(array)


@pytest.mark.parametrize("count", [0, 1, 2, 300, 20_001])
@pytest.mark.parametrize("alphabet", [1, 2, 7, 256, 3000])
@pytest.mark.parametrize("name", CODERS)
def test_the_reference_decodes_every_coder(name: str, alphabet: int, count: int) -> None:
    """Of few symbols and of many, for which there are more lanes, and more codes than LZW has room for."""
    if alphabet > CODERS[name].max_alphabet:
        pytest.skip("not for this alphabet")
    noise = (np.arange(count, dtype=np.uint64) + 1) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(33)
    skewed = (noise * noise >> np.uint64(31)) * np.uint64(alphabet) >> np.uint64(31)
    symbols = skewed.astype(np.uint8 if alphabet <= 256 else np.uint16)
    payload = bytes(CODERS[name].encode(symbols, alphabet))
    assert REFERENCE[name](payload, count, alphabet) == symbols.tolist()
