"""Promise: the arrays of tensors come back bit for bit, short vectors share a part, and what is missing is named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from mdlake.artifact import artifact_bytes, parse_artifact
from mdlake.artifact.arrays import Array, Wanted, decode_arrays, encode_arrays
from mdlake.artifact.layout import tensor_blocks
from mdlake.errors import CorruptError, MdlakeError
from mdlake.models.schemes import Plain
from mdlake.streams import same
from tests.make_golden_artifact import network as golden_network

MAX = 1 << 30
DTYPES = [np.float16, np.uint16, np.float32, np.float64, np.int64, np.uint8]


def wanted_of(arrays: list[Array]) -> Wanted:
    return {array.tensor: {array.role: (array.values.dtype, len(array.values))} for array in arrays}


def assert_come_back(arrays: list[Array]) -> dict[str, bytes]:
    parts = encode_arrays(arrays, "fast")
    found = decode_arrays(parts, wanted_of(arrays), MAX)
    assert list(found) == [array.tensor for array in arrays]
    assert all(same(found[array.tensor][array.role], array.values) for array in arrays)
    return parts


@st.composite
def tensors(draw: st.DrawFn) -> list[Array]:
    found = []
    for i in range(draw(st.integers(0, 6))):
        values = draw(hnp.arrays(draw(st.sampled_from(DTYPES)), st.integers(0, 40)))
        row = draw(st.sampled_from([0, 0, 1, 5]))
        found.append(Array(f"t{i}", draw(st.sampled_from(["", "scale"])), values, row))
    return found


@given(tensors())
@settings(max_examples=60, deadline=None)
def test_any_arrays_come_back(arrays: list[Array]) -> None:
    assert_come_back(arrays)


def test_short_vectors_share_a_part_and_others_have_their_own() -> None:
    random = np.random.default_rng(0)

    def floats(name: str, count: int, row: int = 0, role: str = "", dtype: type = np.float32) -> Array:
        return Array(name, role, random.normal(size=count).astype(dtype), row)

    parts = assert_come_back(
        [
            floats("a.weight", 64, row=8),
            floats("a.bias", 8),
            floats("b.weight", 9000),
            floats("b.bias", 100),
            floats("c.bias", 8192),
            floats("d.bias", 8193),
            floats("a.scale", 8, role="scale"),
            floats("e.bias", 16, dtype=np.float16),
        ]
    )
    shared = {"vectors:float32", "vectors:float32:scale", "vectors:float16"}
    assert parts.keys() == {"a.weight", "b.weight", "d.bias"} | shared


def test_together_vectors_take_less() -> None:
    random = np.random.default_rng(0)
    vectors = [Array(f"n{i}", "", random.normal(1, 0.1 + i % 3, 48).astype(np.float32)) for i in range(20)]
    alone = sum(len(part) for vector in vectors for part in encode_arrays([vector], "max").values())
    assert sum(map(len, encode_arrays(vectors, "max").values())) < 0.95 * alone


def test_a_network_of_norms_comes_back() -> None:
    module = nn.Sequential(*(layer for _ in range(4) for layer in (nn.Linear(12, 12), nn.LayerNorm(12))))
    state = {
        **module.state_dict(),
        "bf16": torch.randn(20).bfloat16(),
        "none": torch.zeros(0),
        "one": torch.tensor(2.5),
    }
    kept = {name: Plain(tensor) for name, tensor in state.items()}
    parts = tensor_blocks(kept, "fast")
    wanted = {name: Plain.roles(scheme.about, tuple(state[name].shape)) for name, scheme in kept.items()}
    found = decode_arrays(parts, wanted, MAX)
    for name, tensor in state.items():
        back = Plain.read(kept[name].about, tuple(tensor.shape), found[name]).restore()
        assert back.dtype == tensor.dtype and torch.equal(back, tensor), name


def test_a_missing_part_is_named() -> None:
    arrays = [Array("a", "", np.ones(3, np.float32) / 3), Array("b", "", np.zeros(4, np.float32))]
    with pytest.raises(CorruptError, match="part 'vectors:float32' is missing"):
        decode_arrays({}, wanted_of(arrays), MAX)


def test_a_part_of_another_length_is_named() -> None:
    arrays = [Array(name, "", np.linspace(0, 1, 5)) for name in "ab"]
    parts = encode_arrays(arrays, "fast")
    with pytest.raises(CorruptError, match="10 values, expected 15") as caught:
        decode_arrays(parts, wanted_of([*arrays, Array("c", "", np.zeros(5))]), MAX)
    assert "vectors:float64" in str(caught.value)


def test_flipped_bits_in_shared_parts_raise() -> None:
    model, schemes = golden_network()
    data = artifact_bytes(model, schemes, "fast")
    for at in range(len(data) - 200, len(data)):
        with pytest.raises(MdlakeError):
            parse_artifact(data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :])
