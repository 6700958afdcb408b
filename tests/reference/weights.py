"""FORMAT.md, Weights: floats in rows, tops coded by a table for each row, the rest in planes. Values are bits."""

from __future__ import annotations

from .coders import Lane, Table
from .reader import Bits, Kind, Place, Reader, Values, check


def weights(place: Place) -> Values:
    check(place.kind in (Kind.U16, Kind.F16, Kind.F32, Kind.F64) and place.count > 0, "kind")
    length, low = place.reader.varint(place.count), place.reader.u8()
    base, tables = place.reader.varint(), place.reader.u8()
    bits = 8 * place.kind.width - 1 - low
    check(length >= 1 and 1 <= bits <= 16 and base < 1 << bits and 1 <= tables <= 64, "weights")
    rare, rest = place.reader.varint(place.count), place.reader.varint()
    head, words = place.reader.counted(), place.reader.counted()
    sizes = [min(length, place.count - start) for start in range(0, place.count, length)]
    of = place.child(Kind.U8, len(sizes))
    zeros = place.child(Kind.U8, len(sizes))
    planes = Reader(bytes(place.child(Kind.U8, rest)))
    others = iter(place.child(Kind.U16, rare))
    check(max(of) < tables and max(zeros) <= low, "rows")
    found, symbols = symbols_of(head, words, list(zip(of, sizes, strict=True)), tables)
    check(base - 1 + max(found) < 1 << bits, "a symbol of a table")
    values = []
    for row, size, zero in zip(symbols, sizes, zeros, strict=True):
        stretches = (min(4096, size - start) for start in range(0, size, 4096))
        kept = [value for count in stretches for value in stretch(planes, count, low - zero)]
        for symbol, value in zip(row, kept, strict=True):
            top = base - 1 + symbol if symbol else next(others, 1 << bits)
            check(top < 1 << bits, "top")
            sign, lowest = divmod(value, 1 << (low - zero))
            values.append(sign << (bits + low) | top << low | lowest << zero)
    planes.end()
    check(next(others, None) is None, "rare tops left over")
    return values


def symbols_of(head: bytes, words: bytes, rows: list[tuple[int, int]], tables: int) -> tuple[set[int], list[list[int]]]:
    """The symbols that tables have, and those of each row."""
    check(head[0] <= 6, "lanes")
    number, bits = 1 << head[0], Bits(head[1:])
    sizes = [less + 1 for less in bits.integers(tables)]
    check(max(sizes) <= 256, "table")
    integers = iter(bits.integers(2 * sum(sizes), 2))
    found = [Table.of(12, [next(integers) for _ in range(2 * size)], 256) for size in sizes]
    check(not bits.rest() and len(words) >= 4 * number, "words")
    sequence, states = Reader(words[: -4 * number]), Reader(words[-4 * number :])
    lanes = [Shared(states.word(4), sequence) for _ in range(number)]
    symbols = [[lanes[place % number].symbol(found[table]) for place in range(size)] for table, size in rows]
    for lane in lanes:
        lane.end()
    return {symbol for table in found for symbol in table.symbols}, symbols


class Shared(Lane):
    """A lane whose words are those of all."""

    def __init__(self, state: int, words: Reader) -> None:
        self.state, self.words = state, words


def stretch(planes: Reader, count: int, below: int) -> list[int]:
    """The kept bits of the next values: a sign and `below` others."""
    width, at, values = 1 + below, 0, [0] * count
    for size in (*[8] * (width // 8), *(size for size in (4, 2, 1) if width & size)):
        data = planes.take(-(-count * size // 8))
        for place in range(count):
            part, byte = divmod(place, len(data))
            values[place] |= (data[byte] >> size * part) % (1 << size) << at
        at += size
    return values
