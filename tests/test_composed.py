"""Promises of composed strings: programs do what the format says, are found from few rows, and lose nothing."""

from __future__ import annotations

import zlib

import numpy as np
import pyarrow as pa
import pytest
from columns import Beside
from hypothesis import given, settings
from hypothesis import strategies as st

from mdlake import block
from mdlake.block_row import RowDecoder, encode_row
from mdlake.compositions import CASES, Composition, Cut, Literal, Number, Piece, Place, Rest
from mdlake.encodings.composed import Composed
from mdlake.encodings.known import Hints, Known
from mdlake.encodings.protocol import Shape
from mdlake.errors import CorruptError, MdlakeError
from mdlake.expressions import Expression
from mdlake.kernels import composing
from mdlake.kernels.composing import BEFORE, BEHIND, BEHIND_LAST, FROM_END
from mdlake.parents import Column
from mdlake.search.composing import Compositions
from mdlake.streams import Kind, Strings, same
from mdlake.wire import Reader, Writer

ROWS = 4000
TEXTS = st.text(alphabet="aB.-/ é", max_size=8).map(str.encode)
PLACES = st.builds(
    lambda how, count, byte: Place(how, count, byte if how >= BEFORE else 0),
    st.integers(0, BEHIND_LAST),
    st.integers(0, 4),
    st.sampled_from(b".-/ "),
)
X = Expression.parent(1)
PIECES = st.one_of(
    st.builds(Literal, TEXTS),
    st.builds(Cut, st.just(0), PLACES, PLACES, st.integers(0, len(CASES) - 1)),
    st.builds(Number, st.sampled_from([X, X("//", 7), X("year")]), st.integers(1, 22), st.integers(0, 18)),
)
ROWS_BESIDE = st.lists(st.tuples(TEXTS, st.integers(-(1 << 63), (1 << 63) - 1), TEXTS, st.integers(0, 3)), min_size=1)


def strings(values: list[bytes]) -> Strings:
    return Strings.of(np.array([len(value) for value in values], np.int64), np.frombuffer(b"".join(values), np.uint8))


def place(text: bytes, at: Place) -> int:
    """As FORMAT.md has it."""
    if at.how <= FROM_END:
        return min(at.count, len(text)) if at.how == 0 else max(len(text) - at.count, 0)
    found = [i for i, byte in enumerate(text) if byte == at.byte]
    if at.how >= 4:
        found = found[::-1]
    if at.count >= len(found):
        return len(text) if at.how <= BEHIND else 0
    return found[at.count] + (at.how in (BEHIND, BEHIND_LAST))


def written(piece: Piece, text: bytes, number: int) -> bytes:
    """As FORMAT.md has it."""
    if isinstance(piece, Literal):
        return piece.text
    if isinstance(piece, Cut):
        part = text[place(text, piece.first) : place(text, piece.last)]
        return [part, part.lower(), part.upper(), part[:1].upper() + part[1:].lower()][piece.case]
    assert isinstance(piece, Number)
    value = int(piece.expression.evaluate(lambda _: np.array([number], np.int64), 1)[0])
    digits = str(abs(value)).zfill(max(piece.least, piece.decimals + 1))
    if piece.decimals:
        digits = f"{digits[: -piece.decimals]}.{digits[-piece.decimals :]}"
    return f"{'-' * (value < 0)}{digits}".encode()


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, max_size=5), st.lists(PIECES, max_size=3), st.booleans(), ROWS_BESIDE)
def test_any_program_gives_any_strings_back(head: list, tail: list, rest: bool, rows: list) -> None:
    composition = Composition((*head, *([Rest()] if rest else []), *tail) or (Rest(),))
    texts, numbers = strings([row[0] for row in rows]), np.array([row[1] for row in rows])
    known = Known((Beside(strings=texts), Beside(numbers=numbers)), len(rows))
    values = []
    for text, number, other, spoiled in rows:
        made = [other if isinstance(piece, Rest) else written(piece, text, number) for piece in composition.pieces]
        values.append(other if spoiled == 0 else b"".join(made))
    stream = strings(values)
    encoded = Composed(composition).encode(stream, known)
    if encoded is None:
        assert sum(row[3] == 0 for row in rows) > len(rows) // 2
        return
    assert encoded[0].exceptions <= sum(row[3] == 0 for row in rows)
    writer = Writer()
    encoded[0].write(writer)
    read = Composed.read(Reader(writer.getvalue()), Shape.of(stream))
    assert read == encoded[0]
    assert [Shape.of(child) for child in encoded[1]] == list(read.children(Shape.of(stream)))
    assert same(read.decode(encoded[1], Shape.of(stream), known), stream)


def people() -> tuple[list[str], list[str]]:
    random = np.random.default_rng(4)
    syllables = np.array(["an", "be", "cor", "da", "el", "fi", "gra", "ho", "is", "jo", "ka", "li", "mar", "no", "ol"])
    firsts = ["".join(syllables[random.integers(0, 15, 2)]).capitalize() for _ in range(ROWS)]
    return firsts, ["".join(syllables[random.integers(0, 15, 3)]).capitalize() for _ in range(ROWS)]


FIRST, LAST = people()
NUMBERS = np.random.default_rng(9).permutation(ROWS * 7)[:ROWS]
TIMES = np.random.default_rng(8).integers(1_400_000_000, 1_700_000_000, ROWS).astype("M8[s]")
DOMAINS = [("example.com", "example.org", "mail.example.net")[n % 3] for n in NUMBERS]
EMAILS = [f"{a.lower()}.{b.lower()}@{c}" for a, b, c in zip(FIRST, LAST, DOMAINS, strict=True)]
FOLDERS = [f"/data/{('raw', 'clean')[n % 2]}/{2000 + n % 20}" for n in NUMBERS]
FILES = [f"part-{n:05d}.parquet" for n in NUMBERS]
PATHS = [f"{a}/{b}" for a, b in zip(FOLDERS, FILES, strict=True)]
FOUND = {
    "full name": ([f"{a} {b}" for a, b in zip(FIRST, LAST, strict=True)], [FIRST, LAST]),
    "last, first": ([f"{b}, {a}" for a, b in zip(FIRST, LAST, strict=True)], [FIRST, LAST]),
    "first of a full name": (FIRST, [[f"{a} {b}" for a, b in zip(FIRST, LAST, strict=True)]]),
    "last of a full name": (LAST, [[f"{a} {b}" for a, b in zip(FIRST, LAST, strict=True)]]),
    "email": (EMAILS, [FIRST, LAST, DOMAINS]),
    "login": ([f"{a[0]}{b}".lower() for a, b in zip(FIRST, LAST, strict=True)], [FIRST, LAST]),
    "domain of an email": (DOMAINS, [EMAILS]),
    "name of an email": ([f"{a} {b}" for a, b in zip(FIRST, LAST, strict=True)], [EMAILS]),
    "in upper case": ([b.upper() for b in LAST], [LAST]),
    "code": ([f"AB-{n:08d}" for n in NUMBERS], [NUMBERS]),
    "code, not filled up": ([f"order {n} of {a}" for a, n in zip(FIRST, NUMBERS, strict=True)], [NUMBERS, FIRST]),
    "part of a code": ([f"AB-{n:08d}"[3:9] for n in NUMBERS], [[f"AB-{n:08d}" for n in NUMBERS]]),
    "price": ([f"{n // 100}.{n % 100:02d} EUR" for n in NUMBERS], [NUMBERS]),
    "path": (PATHS, [FOLDERS, FILES]),
    "folder": (FOLDERS, [PATHS]),
    "file": (FILES, [PATHS]),
    "date": ([str(time)[:10] for time in TIMES], [TIMES.astype(np.int64)]),
    "time": ([str(time).replace("T", " ") for time in TIMES], [TIMES.astype(np.int64)]),
    "year": ([str(time)[:4] for time in TIMES], [TIMES.astype(np.int64)]),
}


def encoded(target: list[str], others: list, effort: str = "default") -> tuple[pa.Table, dict[int, bytes]]:
    table = pa.table({"target": target, **{f"other{i}": other for i, other in enumerate(others)}})
    columns = [column.combine_chunks() for column in table.columns]
    return table, {position: data for position, _, data in encode_row(table.schema, columns, effort)}


def decoded(table: pa.Table, blocks: dict[int, bytes]) -> pa.Table:
    described = {position: block.describe(data) for position, data in blocks.items()}
    crcs = {position: found.crc32 for position, found in described.items()}
    decoder = RowDecoder(table.schema, len(table), blocks, crcs, {p: found.parents for p, found in described.items()})
    return pa.table([decoder.column(position) for position in range(table.num_columns)], schema=table.schema)


@pytest.mark.parametrize("case", FOUND)
def test_the_program_that_made_a_column_is_found(case: str) -> None:
    target, others = FOUND[case]
    known = dict(enumerate(Column.of(pa.array(values)) for values in (target, *others)))
    found = Compositions({place: column for place, column in known.items() if column}).of(0, tuple(known)[1:])
    assert found and found[0].share < 0.01 and not found[0].composition.has_rest


@pytest.mark.parametrize("effort", ["default", "max"])
def test_a_table_of_them_comes_back_and_takes_next_to_nothing_more(effort: str) -> None:
    rows = 1500
    shown = [*EMAILS[:rows]]
    shown[::50] = [f"someone{n}@else.where" for n in range(len(shown[::50]))]
    first = [None if n % 40 == 7 else name for n, name in enumerate(FIRST[:rows])]
    greeting = [f"Dear {a or ''} {b}" if b != LAST[3] else None for a, b in zip(first, LAST[:rows], strict=True)]
    table, blocks = encoded(shown, [first, LAST[:rows], greeting, PATHS[:rows], FILES[:rows]], effort)
    assert decoded(table, blocks).equals(table)
    chains = {position: block.describe(data).chain for position, data in blocks.items()}
    assert sum("composed" in chain for chain in chains.values()) >= 2
    _, alone = encoded(shown, [])
    assert len(blocks[0]) < 0.5 * len(alone[0])


def test_what_no_other_column_tells_is_left_as_the_rest() -> None:
    known = dict(enumerate(Column.of(pa.array(values)) for values in (EMAILS, FIRST, LAST)))
    found = Compositions({place: column for place, column in known.items() if column}).of(0, (1, 2))
    assert str(found[0].composition) == "lower(parent1) '.' lower(parent2) '@' rest" and found[0].share < 0.2


def test_strings_that_have_nothing_to_do_with_each_other_get_no_program() -> None:
    random = np.random.default_rng(1)
    columns = [[random.bytes(6).hex() for _ in range(ROWS)], LAST, FILES]
    known = {place: column for place, values in enumerate(columns) if (column := Column.of(pa.array(values)))}
    assert all(Compositions(known).of(place, tuple(known)) == [] for place in known)


BESIDE = Known((Beside(strings=strings([a.encode() for a in FIRST[:40]])), Beside(numbers=NUMBERS[:40])), 40)
PROGRAM = Composition(
    (
        Cut(0, Place(), Place(BEHIND, 0, 97), 3),
        Literal(b"-"),
        Number(X("//", 3)("+", 7), 6, 2),
        Rest(),
        Cut(0, Place(FROM_END, 2), Place(FROM_END), 2),
    )
)


def test_damaged_programs_raise_or_decode_but_never_crash() -> None:
    values = PROGRAM.around_rest()[0].strings(BESIDE)
    tails = PROGRAM.around_rest()[1].strings(BESIDE)
    both = [bytes(s.data[s.offsets[i] : s.offsets[i + 1]]) for i in range(40) for s in (values, tails)]
    stream = strings([b"x" if i == 5 else both[2 * i] + b"rest" * (i % 3) + both[2 * i + 1] for i in range(40)])
    encoded_ = Composed(PROGRAM).encode(stream, BESIDE)
    assert encoded_ is not None and encoded_[0].exceptions == 1
    writer = Writer()
    encoded_[0].write(writer)
    data, shape = writer.getvalue(), Shape.of(stream)
    for position in range(len(data)):
        for variant in (data[:position], *(flipped(data, position, bit) for bit in range(8))):
            try:
                step = Composed.read(Reader(variant), shape)
                if [Shape.of(child) for child in encoded_[1]] != list(step.children(shape)):
                    continue
                again = step.decode(encoded_[1], shape, BESIDE)
            except MdlakeError:
                continue
            assert len(again) == len(stream) and Shape.of(again) == shape


def flipped(data: bytes, position: int, bit: int) -> bytes:
    damaged = bytearray(data)
    damaged[position] ^= 1 << bit
    return bytes(damaged)


def test_hostile_blocks_with_a_valid_checksum_raise_one_of_the_kinds() -> None:
    names, numbers = pa.array(FIRST[:300]), pa.array(NUMBERS[:300])
    columns = {place: column for place, array in enumerate((names, numbers)) if (column := Column.of(array))}
    values = pa.array(
        [f"{a.lower()} no. {n:06d}{'' if n % 9 else '!'}" for a, n in zip(FIRST, NUMBERS[:300], strict=False)]
    )
    pieces = Cut(0, Place(), Place(FROM_END), 1), Literal(b" no. "), Number(X, 6)
    beside = block.Beside((0, 1), tuple(columns.values()), hints=Hints(compositions=(Composition(pieces),)))
    data = block.encode_array(values, "default", beside=beside)
    assert "composed" in block.describe(data).chain
    for position in range(block.HEADER_SIZE, min(len(data), 160)):
        for bit in range(8):
            body = flipped(data[block.HEADER_SIZE :], position - block.HEADER_SIZE, bit)
            forged = data[:5] + zlib.crc32(body).to_bytes(4, "little") + body
            try:
                block.describe(forged)
                again = block.decode_array(forged, pa.string(), length=300, parents=columns, max_bytes=1 << 20)
            except MdlakeError:
                continue
            assert len(again) == 300


@pytest.mark.parametrize(
    "piece",
    [Cut(1), Cut(2), Cut(9), Number(Expression.parent(0)), Number(Expression.parent(9))],
    ids=str,
)
def test_parents_that_are_not_as_the_program_wants_them_are_refused(piece: Piece) -> None:
    known = Known((*BESIDE.parents, Beside(np.zeros(40, np.uint32))), 40)
    step = Composed(Composition((piece,)))
    with pytest.raises(CorruptError):
        step.decode((np.zeros(0, np.uint32), strings([])), Shape.of(strings([b"abc"] * 40)), known)


def test_strings_of_another_size_than_they_claim_are_refused_before_they_are_made() -> None:
    step = Composed(Composition((Literal(b"x" * 1000), Cut(0))))
    with pytest.raises(CorruptError, match="do not have 7 bytes"):
        step.decode((np.zeros(0, np.uint32), strings([])), Shape(Kind.STRINGS, 40, 7), BESIDE)


def test_kernels_stay_in_bounds() -> None:
    """The same code as Python, where an index beyond an array raises."""
    text = strings([b"a.b", b"", b"..", b"abc", b"x.y.z"])
    chosen = np.array([True, True, False, True, True])
    for how in range(BEHIND_LAST + 1):
        for count in (0, 1, 2, 7):
            first, last = (how, count, ord(".")), (BEHIND_LAST - how, count, ord("."))
            lengths = np.zeros(5, np.int64)
            composing.add_cuts.py_func(text.offsets, text.data, first, last, chosen, lengths)
            made = Strings.of(lengths, np.zeros(int(lengths.sum()), np.uint8))
            at = made.offsets[:-1].copy()
            composing.put_cuts.py_func(text.offsets, text.data, first, last, 3, chosen, at, made.data)
            assert at[chosen].tolist() == made.offsets[1:][chosen].tolist()
    values = np.array([0, -7, 12345, 1 << 62, -(1 << 62)])
    for least, decimals in ((1, 0), (4, 2), (1, 18), (30, 3)):
        lengths = np.zeros(5, np.int64)
        composing.add_numbers.py_func(values, least, decimals, chosen, lengths)
        made = Strings.of(lengths, np.zeros(int(lengths.sum()), np.uint8))
        composing.put_numbers.py_func(values, least, decimals, chosen, lengths, made.offsets[:-1].copy(), made.data)
        expected = b"".join(written(Number(X, least, decimals), b"", int(v)) for v in values[chosen])
        assert made.data.tobytes() == expected
