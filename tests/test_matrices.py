"""Matrices give levels back bit for bit, always as the same bytes, and few; they refuse what no encoder writes."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from networks import dense_network, pruned_network
from reference.block import Block

from mdlake.block import decode_values, encode_values, encode_with
from mdlake.coding.matrices import PARTS, Grid, MatrixCoder
from mdlake.encodings.matrices import Matrices
from mdlake.encodings.protocol import Shape
from mdlake.errors import CorruptError, InvalidArgumentError, MdlakeError, TruncatedError
from mdlake.kernels import matrices as kernel
from mdlake.kernels import matrix_contexts, range_coder, residual_mixing
from mdlake.models.levels import decode_levels, encode_levels
from mdlake.streams import Kind
from mdlake.wire import Reader, Writer

sizes = st.integers(1, 5)
grids = st.builds(Grid, rows=st.integers(1, 7), channels=sizes, height=sizes, width=sizes, bias=st.booleans())


def levels(chosen: list[Grid], largest: int, density: float, signed: bool, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    count = sum(grid.count for grid in chosen)
    values = np.rint(random.laplace(0, largest / 4 + 0.3, count)).clip(-largest, largest)
    values *= random.random(count) < density
    return (values if signed else np.abs(values)).astype(np.int16)


def written(step: Matrices) -> bytes:
    writer = Writer()
    step.write(writer)
    return writer.getvalue()


def encoded(values: np.ndarray, chosen: list[Grid]) -> bytes:
    step = Matrices(tuple(chosen)).encode(values)
    assert step is not None
    return written(step[0])


def decoded(data: bytes, shape: Shape) -> np.ndarray:
    reader = Reader(data)
    step = Matrices.read(reader, shape)
    if reader.remaining:
        raise CorruptError("bytes are left over")
    values = step.decode((), shape)
    assert isinstance(values, np.ndarray)
    return values


@given(
    chosen=st.lists(grids, min_size=1, max_size=4),
    largest=st.sampled_from([1, 2, 3, 5, 7, 100, 32767]),
    density=st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    signed=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_levels_come_back(chosen: list[Grid], largest: int, density: float, signed: bool, seed: int) -> None:
    values = levels(chosen, largest, density, signed, seed)
    data = encoded(values, chosen)
    np.testing.assert_array_equal(decoded(data, Shape.of(values)), values)
    block = encode_with(values, Matrices(tuple(chosen)))
    np.testing.assert_array_equal(decode_values(block, dtype=np.int16, length=len(values)), values)
    assert Block.of(block).stream()[1] == values.tolist()  # the reference


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint8])
def test_the_ends_of_every_kind_come_back(dtype: type) -> None:
    limits = np.iinfo(dtype)
    values = np.array([limits.min, limits.max, 0, 1, limits.max - 1, limits.min], dtype)
    for chosen in (Grid(6, 1), Grid(1, 6), Grid(2, 1, 1, 3), Grid(2, 1, 2, 1, True), Grid(3, 1, 1, 1, True)):
        np.testing.assert_array_equal(decoded(encoded(values, [chosen]), Shape.of(values)), values)


def test_what_does_not_fit_is_not_taken() -> None:
    values = np.zeros(12, np.int8)
    with pytest.raises(InvalidArgumentError, match="matrices does not take"):
        encode_with(values, Matrices((Grid(3, 3),)))
    with pytest.raises(InvalidArgumentError, match="matrices does not take"):
        encode_with(values.astype(np.int32), Matrices((Grid(3, 4),)))
    with pytest.raises(InvalidArgumentError, match="one dimension"):
        encode_with(values.reshape(3, 4), Matrices((Grid(3, 4),)))


def test_numbers_that_would_not_fit_are_refused() -> None:
    wide, largest = Grid(1, 1 << 22), 1 << 15
    step = Matrices((wide,), largest, True)
    with pytest.raises(CorruptError, match="too many cells"):
        Matrices.read(Reader(written(step)), Shape(Kind.I16, wide.count))
    assert Matrices.read(Reader(written(Matrices((wide,), 127, True))), Shape(Kind.I16, wide.count)).grids == (wide,)


def test_damaged_bytes_raise_or_give_as_many_values() -> None:
    chosen = [Grid(6, 2, 3, 3, True), Grid(4, 6, 1, 1, True), Grid(3, 4)]
    values = levels(chosen, 3, 0.3, True, 5)
    data, shape = encoded(values, chosen), Shape.of(values)
    for position in range(len(data)):
        flipped = [bytes([*data[:position], data[position] ^ 1 << bit, *data[position + 1 :]]) for bit in range(8)]
        for damaged in (data[:position], *flipped):
            try:
                again = decoded(damaged, shape)
            except (CorruptError, TruncatedError):
                continue
            assert again.shape == values.shape and again.dtype == values.dtype
    for cut in range(1, len(data)):
        with pytest.raises(MdlakeError):
            decoded(data[:-cut], shape)


@given(payload=st.binary(max_size=60), largest=st.integers(1, 1 << 15), signed=st.booleans())
@settings(max_examples=80, deadline=None)
def test_a_hostile_payload_raises_or_gives_as_many_values(payload: bytes, largest: int, signed: bool) -> None:
    chosen = (Grid(5, 2, 3, 2, True), Grid(4, 5), Grid(2, 4, bias=True))
    for kind in (Kind.I8, Kind.I16, Kind.U8):
        try:
            again = decoded(written(Matrices(chosen, largest, signed, payload)), Shape(kind, 95))
        except MdlakeError:
            continue
        assert again.shape == (95,) and again.dtype == kind.dtype


@pytest.mark.parametrize(
    "step",
    [
        Matrices((Grid(5, 19),), 1 << 16, True),
        Matrices((Grid(5, 19),), 0, True),
        Matrices((Grid(5, 18),), 1, True),
        Matrices((Grid(0, 19), Grid(5, 19)), 1, True),
        Matrices((Grid(5, 19), Grid(1 << 40, 1 << 23)), 1, True),
        Matrices((Grid(1 << 62, 1 << 62),), 1, True),
        Matrices((Grid(1, (1 << 22) + 1),), 1, True),
        Matrices((), 1, True),
    ],
)
def test_fields_that_no_encoder_writes_are_refused(step: Matrices) -> None:
    with pytest.raises(CorruptError):
        Matrices.read(Reader(written(step)), Shape(Kind.I8, 95))
    with pytest.raises(CorruptError):
        Matrices.read(Reader(written(Matrices((Grid(5, 19),), 1, True))), Shape(Kind.U8, 95))
    with pytest.raises(CorruptError):
        Matrices.read(Reader(b"\x01\x10\x05"), Shape(Kind.I8, 5))
    with pytest.raises(CorruptError, match="more than"):
        Matrices.read(Reader(written(Matrices((Grid(1, (1 << 22) + 1),), 1, True))), Shape(Kind.I8, (1 << 22) + 1))
    with pytest.raises(MdlakeError):
        Matrices.read(Reader(b"\xff\xff\x03" + b"\0\x01" * 95), Shape(Kind.I8, 95))


def test_the_kernel_stays_in_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same code as Python, where an index beyond an array raises."""
    chosen = (Grid(5, 2, 3, 4, True), Grid(4, 5), Grid(2, 4, bias=True))
    for largest in (2, 32768):
        values = levels(list(chosen), largest, 0.6, True, 3).astype(np.int32)
        coder = MatrixCoder(chosen, max(int(np.abs(values).max()), 1), True)
        compiled = coder.encode(values)
        with monkeypatch.context() as patch, np.errstate(over="ignore"):
            for module in (kernel, matrix_contexts, residual_mixing, range_coder):
                for name, function in vars(module).copy().items():
                    if hasattr(function, "py_func"):
                        patch.setattr(module, name, function.py_func)
            assert coder.encode(values) == compiled


def test_costs_add_up_to_the_bytes() -> None:
    tensors = pruned_network()
    values = np.concatenate([tensors["first.weight"].ravel(), tensors["second.weight"].ravel()]).astype(np.int32)
    coder = MatrixCoder((Grid(60, 1, 20, 20), Grid(30, 60)), 2, True)
    costs = coder.costs(values)
    assert costs.shape == (len(PARTS), len(values)) and bool((costs >= 0).all())
    assert abs(costs.sum() / 8 - len(coder.encode(values))) < 3
    assert bool((costs[2:, values == 0] == 0).all())


@example(2)
@example(4)
@settings(deadline=None, max_examples=5)
@given(st.integers(1, 6))
def test_a_network_comes_back_by_name(bits: int) -> None:
    for tensors in (pruned_network(), dense_network(bits)):
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        data = encode_levels(tensors)
        again = decode_levels(data, shapes, np.int8)
        assert list(again) == list(tensors) and data == encode_levels(tensors)
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(again[name], tensor)


def test_tensors_of_all_sorts_come_back() -> None:
    random = np.random.default_rng(7)
    shapes = {"scale": (), "conv.weight": (4, 3, 3, 3), "conv.bias": (4,), "norm.weight": (4,), "norm.bias": (4,)}
    shapes |= {
        "stray.bias": (9,),
        "fc.bias": (6,),
        "fc.weight": (6, 16),
        "line.weight": (2, 6, 5),
        "deep": (2, 2, 2, 2, 3),
    }
    tensors = {name: random.integers(-3, 4, shape).astype(np.int16) for name, shape in shapes.items()}
    again = decode_levels(encode_levels(tensors), shapes, np.int16)
    assert list(again) == list(shapes) and all(np.array_equal(again[name], tensors[name]) for name in shapes)
    with pytest.raises(InvalidArgumentError, match="levels are int8"):
        encode_levels({"a": np.zeros(3)})
    with pytest.raises(InvalidArgumentError):
        encode_levels({})


def test_networks_take_less_than_by_other_coders() -> None:
    sparse, dense = pruned_network(), dense_network(4)
    for tensors, share in ((sparse, 0.92), (dense, 0.95)):
        flat = np.concatenate([tensor.ravel() for tensor in tensors.values()])
        assert len(encode_levels(tensors)) < share * len(encode_values(flat, "max"))


def test_the_bytes_never_change() -> None:
    found = [
        hashlib.sha256(encode_levels(tensors)).hexdigest()[:16] for tensors in (pruned_network(), dense_network(4))
    ]
    assert found == ["90980df73e25a6de", "58d358478bcaf405"]
