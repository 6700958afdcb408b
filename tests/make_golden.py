"""Writes the golden blocks of the current format version: run once a version, never again.

    python tests/make_golden.py

For each case, `tests/golden/v<version>/<name>.mdlb` is the block and `<name>.arrow` what it holds (Arrow IPC). The
cases cover every encoding and coder by name, and columns of every shape of type. Files that exist are left as they are.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
from networks import dense_network, pruned_network

from mdlake.block import VERSION, assemble, describe, encode_array
from mdlake.coding.matrices import Grid
from mdlake.coding.predicting import Predictor
from mdlake.compositions import Composition, Cut, Literal, Number, Place, Rest
from mdlake.encodings import ENCODINGS, Encoding
from mdlake.encodings.chain import Chain
from mdlake.encodings.composed import Composed
from mdlake.encodings.facts import Facts, hashable
from mdlake.encodings.formula import HOW
from mdlake.encodings.interpolated import Interpolated
from mdlake.encodings.known import Hints, Known
from mdlake.encodings.lookup import keys_of
from mdlake.encodings.matrices import Matrices
from mdlake.encodings.octaves import Octaves
from mdlake.encodings.partition import Partition
from mdlake.encodings.plain import Constant
from mdlake.encodings.predicted import Predicted
from mdlake.encodings.protocol import Shape
from mdlake.encodings.scaled import Scaled
from mdlake.encodings.weights import Weights
from mdlake.expressions import Expression
from mdlake.parents import Column
from mdlake.streams import Kind, Stream, Strings, kind_of, numbers

GOLDEN = Path(__file__).parent / "golden"


def sample_streams() -> list[Stream]:
    """One of each character: small symbols, ramps, wide integers, runs, decimals, floats, strings of all sorts."""
    n = np.arange(300)
    mixed = (n.astype(np.uint64) + 1) * np.uint64(0x9E3779B97F4A7C15)
    words = [b"lake", b"lakes", b"laketown", b"", b"\xff\x00"]
    picked = [words[i * i % 5] for i in range(300)]
    return [
        (n * n % 7).astype(np.uint8),
        (n * 1009 % 3001).astype(np.uint16),
        mixed,
        mixed >> np.uint64(20),
        (n * 3600 - 5000).astype(np.int64),
        np.repeat(np.array([-3, 8, 8, 100], np.int32), 75),
        np.where(n % 50 == 0, np.nan, (n - 100) / 100),
        (mixed >> np.uint64(40)).astype(np.float32),
        np.full(300, -0.0, np.float16),
        strings(picked),
        strings([b"shard %d of lake %d" % (i * 7919 % 1000, i % 3) for i in range(300)]),
        strings([b"%02d:%02d:%02d %s" % (i // 180, i // 3 % 60, i % 3 * 20 + i % 7, words[i % 3]) for i in range(300)]),
        strings([b"%08x-%04x" % (i * 0x9E3779B1 % 2**32, i * i) for i in range(300)]),
    ]


def strings(values: list[bytes]) -> Strings:
    return Strings.of(np.array([len(value) for value in values]), np.frombuffer(b"".join(values), np.uint8))


def parents() -> dict[str, pa.Array]:
    """Columns that every golden block may be coded with."""
    n = np.arange(300)
    clock = pa.array((n % 1440 // 60 * 100 + n % 60) / 100)
    names = pa.array([f"Lake.{'Ab-c' * (i % 3)}/{i * i}-\xc4x" for i in range(300)], mask=n == 7)
    return {"parent0": pa.array(n * n % 7, mask=n == 3), "parent1": clock, "parent2": names}


def beside(count: int) -> Known:
    columns = tuple(column for array in parents().values() if (column := Column.of(array[:count])))
    x, y = Expression.parent(0), Expression.parent(1)
    program = x("*", 3)("-", y("minutes"))("//", 7)("+", y("clock")("%", 11)("/", 2))
    dates = x("*", 100_000)("days", y, x("-", 3))("year")("*", y("month"))("+", x("*", 1000)("day"))
    formulas = (*((how, program) for how in HOW), (HOW[0], dates))
    contexts = (((2, 0),), ((0, 1), (3, 2)), ((2, 0), (3, 0), (1, 0)))
    return Known(columns, count, None, Hints(contexts, formulas, ((0,), (1, 0))))


def by_encoding() -> Iterator[tuple[str, pa.Array, bytes]]:
    """Each encoding at the root, its children plain, on every stream that it takes."""
    for encoding in ENCODINGS.values():
        for place, stream in enumerate(sample_streams()):
            known = beside(len(stream))
            for number, proposal in enumerate(proposals(encoding, Facts(stream, len(stream), known))):
                name = f"{encoding.name}_{place}_{kind_of(stream).name.lower()}_{number}"
                yield name, as_arrow(stream), block_of(stream, one_step(proposal, stream, known))
    for name, composition in compositions().items():
        known = beside(300)
        head, tail = (as_arrow(part.strings(known)).to_pylist() for part in composition.around_rest())
        rest = [b"rest %d" % (i % 9) if composition.has_rest else b"" for i in range(300)]
        stream = strings([b"apart" if i % 90 == 5 else head[i] + rest[i] + tail[i] for i in range(300)])
        yield f"composed_{name}", as_arrow(stream), block_of(stream, one_step(Composed(composition), stream, known))
    for kind in (Kind.F16, Kind.F32, Kind.F64):
        grid = Octaves(16, -8)
        stream = grid.values(np.arange(-150, 150), kind)
        smooth = Interpolated(Scaled(25, 3), 4)
        turns = smooth.run(300, lambda guess, places: -(guess >> 3) + places % 3 - 1)[0]
        series = smooth.grid.values(turns, kind)
        yield f"interpolated_grid_{kind.name.lower()}", as_arrow(series), block_of(series, one_step(smooth, series))
        yield f"octaves_grid_{kind.name.lower()}", as_arrow(stream), block_of(stream, one_step(grid, stream))
    for name, (stream, grids) in networks().items():
        yield f"matrices_{name}", as_arrow(stream), block_of(stream, one_step(Matrices(grids), stream))


def networks() -> dict[str, tuple[np.ndarray, tuple[Grid, ...]]]:
    """Matrices of each kind of cell and of number."""
    pruned, dense = pruned_network(), dense_network(4)
    first = np.concatenate([pruned["first.weight"], pruned["first.bias"][:, None]], axis=1)
    layers = np.concatenate([first.ravel(), pruned["second.weight"].ravel()])
    filters = np.concatenate([dense["first.weight"].ravel(), dense["second.weight"].ravel()])
    wide = (np.arange(180) * 7919 % 65536 - 32768).astype(np.int16) * (np.arange(180) % 4 > 1)
    return {
        "pruned_i8": (layers, (Grid(60, 1, 20, 20, True), Grid(30, 60))),
        "dense_i8": (filters, (Grid(40, 4, 6, 6), Grid(20, 40))),
        "wide_i16": (wide, (Grid(5, 3, 4, 2, True), Grid(11, 5))),
        "unsigned_u8": (np.abs(layers).astype(np.uint8), (Grid(60, 401), Grid(30, 60))),
        "zeros_i8": (np.zeros(60, np.int8), (Grid(3, 20),)),
    }


def compositions() -> dict[str, Composition]:
    """Every role, place and case."""
    places = [Place(how, count, b"./-"[count] if how > 1 else 0) for how in range(6) for count in (0, 1, 2)]
    cuts = [Cut(2, first, places[-1 - i], i % 4) for i, first in enumerate(places)]
    x, y = Expression.parent(0), Expression.parent(1)
    wide = x("-", 3)("*", 1 << 60)("*", y)
    numbers_ = Number(x), Number(x("-", 3), 4), Number(wide, 12, 18), Number(y("year"), 64, 2)
    return {
        "cuts": Composition((*cuts[::2], Literal(b" "), *cuts[1::2])),
        "numbers": Composition((numbers_[0], Literal(b":"), numbers_[1], Literal(b""), *numbers_[2:])),
        "rest": Composition((Cut(2), Literal(b"\xff\x00"), Rest(), Number(y, 5))),
        "only_rest_behind": Composition((Cut(2, case=2), Rest())),
    }


def proposals(encoding: type[Encoding], facts: Facts) -> Iterator[Encoding]:
    """What an encoding proposes; of those that want longer series, every kind; grids by name."""
    yield from encoding.propose(facts)
    if encoding is Partition and facts.kind.is_unsigned:
        yield from (Partition((0,)), Partition((1, 0)))
    if encoding is Scaled and facts.kind.is_float:
        yield from (Scaled(25, 2), Scaled(1, -2))
    if encoding is Interpolated and facts.kind.is_float:
        yield Interpolated(Scaled(1, 2), 3)
    if encoding is Octaves and facts.kind.is_float:
        yield Octaves(1, 0)
    if encoding is Weights:
        kind = facts.kind
        yield from (Weights(length) for length in (0, 40) if kind.is_float or kind is Kind.U16)
        yield from (Weights(40, low) for low in ((22, 15) if kind is Kind.F32 else (14, 8) if kind is Kind.F16 else ()))
    if encoding is Predicted and facts.kind.is_integer:
        experts = ((0, 2, 0), (1, 1, 3), (2, 3, 4), (3, 1, 0), (4, 2, 1))
        yield from (Predicted(Predictor((one,)), (0, 1)) for one in experts)
        yield Predicted(Predictor(experts, (1, 5), 6), (0, 1))


def block_of(stream: Stream, chain: Chain) -> bytes:
    valid = Shape.of(np.ones(len(stream), np.uint8)), Chain(Constant(b"\x01"))
    return assemble(
        len(stream), [valid, (Shape.of(stream), chain)], tuple(range(1 + max(1, *chain.needs))) if chain.needs else ()
    )


def one_step(proposal: Encoding, stream: Stream, known: Known | None = None) -> Chain:
    if isinstance(proposal, Partition) and known is not None:
        encoded = in_three(proposal, stream, known)
    else:
        encoded = proposal.encode(stream, known)
    plain = ENCODINGS[0]()
    assert encoded is not None
    children = [plain.encode(child) for child in encoded[1]]
    return Chain(encoded[0], tuple(Chain(child[0]) for child in children if child))


def in_three(proposal: Partition, stream: Stream, known: Known) -> tuple[Partition, tuple[Stream, ...]]:
    """By parts of its keys that no clustering would find in a series as short."""
    found = keys_of(known, proposal.parents)
    assert found is not None
    return proposal.by((np.arange(found[1]) % 3).astype(np.uint8), found[0], numbers(stream))


def as_arrow(stream: Stream) -> pa.Array:
    if isinstance(stream, Strings):
        return hashable(stream)
    return pa.Array.from_buffers(pa.from_numpy_dtype(stream.dtype), len(stream), [None, pa.py_buffer(stream.copy())])


def columns() -> Iterator[tuple[str, pa.Array, bytes]]:
    """Whole columns of many types, as the default effort writes them."""
    day = datetime.date(2013, 1, 1)
    cases = {
        "empty": pa.array([], pa.int64()),
        "all_null": pa.nulls(9, pa.string()),
        "null": pa.nulls(4),
        "bool": pa.array([True, None, False] * 9),
        "date": pa.array([day, None, day]),
        "timestamp": pa.array(np.arange(50) * 3_600_000, pa.timestamp("ms", "UTC")),
        "decimal128": pa.array([Decimal("1.25"), None, Decimal("-99999999999999999999.75")], pa.decimal128(38, 2)),
        "decimal256": pa.array([Decimal("1.5"), None], pa.decimal256(60, 1)),
        "dictionary": pa.array(["a", "b", None, "a"]).dictionary_encode(),
        "list": pa.array([[1, None], [], None, [3]]),
        "fixed_size_list": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int16(), 2)),
        "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
        "struct": pa.array([{"a": 1, "b": ["x"]}, None, {"a": None, "b": None}]),
        "string_view": pa.array(["short", None, "longer than twelve bytes"], pa.string_view()),
        "list_view": pa.array([[1], None, [], [2, 3]], pa.list_view(pa.int64())),
        "fixed_size_binary": pa.array([b"abc", None, b"xyz"], pa.binary(3)),
    }
    for name, array in cases.items():
        yield f"column_{name}", array, encode_array(array)


def main() -> None:
    folder = GOLDEN / f"v{VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    for name, array, data in (*by_encoding(), *columns()):
        block, expected = folder / f"{name}.mdlb", folder / f"{name}.arrow"
        if block.exists():
            continue
        block.write_bytes(data)
        columns_ = {"values": array, **(parents() if describe(data).parents else {})}
        batch = pa.record_batch(list(columns_.values()), names=list(columns_))
        with pa.OSFile(str(expected), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)


if __name__ == "__main__":
    main()
