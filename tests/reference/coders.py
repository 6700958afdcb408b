"""FORMAT.md, Coders: huffman, rans, rans_order1, lz77, lzw. Each decodes a payload to symbols."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from .integers import from_buckets
from .reader import Bits, Corrupt, Reader, check
from .zstd import unpack


def raw(payload: bytes, count: int, alphabet: int) -> list[int]:
    width = 1 if alphabet <= 256 else 2
    check(len(payload) == width * count, "length")
    return [int.from_bytes(payload[at : at + width], "little") for at in range(0, len(payload), width)]


def not_skipped(skipped: list[int]) -> list[int]:
    """The symbols, by how many are skipped before each."""
    return list(accumulate(skipped, lambda before, more: before + 1 + more, initial=-1))[1:]


def lanes(data: bytes, sizes: list[int]) -> list[bytes]:
    """The lanes of these sizes; one more takes the rest."""
    reader = Reader(data)
    return [*(reader.take(size) for size in sizes), reader.rest()]


def huffman(payload: bytes, count: int, alphabet: int) -> list[int]:
    if count == 0 or alphabet == 1:
        check(not payload, "payload")
        return [0] * count
    check(payload[0] <= 3, "lanes")
    bits, number = Bits(payload[1:]), 1 << payload[0]
    occurring = bits.integers(1)[0] + 1
    table = bits.integers(2 * occurring, 2)
    symbols = not_skipped(table[::2])
    sizes = list(accumulate(d >> 1 if d % 2 == 0 else -(d >> 1) - 1 for d in table[1::2]))
    check(symbols[-1] < alphabet, "symbol")
    others = bits.integers(number - 1)
    data = bits.rest()
    if occurring == 1:
        check(sizes == [0] and number == 1 and not data, "one symbol")
        return symbols * count
    codes = canonical(symbols, sizes)
    coded = [Bits(lane) for lane in lanes(data, others)]
    decoded = [code_of(coded[place % number], codes) for place in range(count)]
    check(not any(lane.rest() for lane in coded), "bytes left over")
    return decoded


def canonical(symbols: list[int], sizes: list[int]) -> dict[tuple[int, int], int]:
    check(all(1 <= size <= 15 for size in sizes), "code length")
    check(sum(1 << (15 - size) for size in sizes) == 1 << 15, "Kraft")
    codes, code, before = {}, 0, 0
    for size, symbol in sorted(zip(sizes, symbols, strict=True)):
        code <<= size - before
        codes[size, code] = symbol
        code, before = code + 1, size
    return codes


def code_of(bits: Bits, codes: dict[tuple[int, int], int]) -> int:
    code = 0
    for size in range(1, 16):
        code = 2 * code + bits.take(1)
        if (size, code) in codes:
            return codes[size, code]
    raise Corrupt("no such code")


@dataclass(frozen=True)
class Table:
    """Symbols and their frequencies, which sum to 2^bits."""

    bits: int
    symbols: list[int]
    frequencies: list[int]
    starts: list[int]

    @classmethod
    def of(cls, bits: int, integers: list[int], alphabet: int) -> Table:
        symbols, frequencies = not_skipped(integers[::2]), [less + 1 for less in integers[1::2]]
        check(sum(frequencies) == 1 << bits and symbols[-1] < alphabet, "table")
        return cls(bits, symbols, frequencies, list(accumulate(frequencies, initial=0)))


class Lane:
    """A state and the words that it takes in."""

    def __init__(self, state: int, data: bytes) -> None:
        self.state, self.words = state, Reader(data)

    def symbol(self, table: Table) -> int:
        slot = self.state % (1 << table.bits)
        place = bisect_right(table.starts, slot) - 1
        self.state = table.frequencies[place] * (self.state >> table.bits) + slot - table.starts[place]
        if self.state < 1 << 16:
            self.state = (self.state << 16) + self.words.word(2)
        return table.symbols[place]

    def end(self) -> None:
        self.words.end()
        check(self.state == 1 << 16, "state")


def lanes_of(data: bytes, sizes: list[int]) -> list[Lane]:
    """Lanes of so many words; what is left is that of one more."""
    states, number = Reader(data), len(sizes) + 1
    found = [states.word(4) for _ in range(number)]
    return [Lane(*lane) for lane in zip(found, lanes(states.rest(), [2 * size for size in sizes]), strict=True)]


def rans(payload: bytes, count: int, alphabet: int) -> list[int]:
    if count == 0 or alphabet == 1:
        check(not payload, "payload")
        return [0] * count
    table_bits, number = payload[0] % 16, 1 << payload[0] // 16
    check(table_bits <= 14 and number <= 64, "table")
    bits = Bits(payload[1:])
    occurring = bits.integers(1)[0] + 1
    table = Table.of(table_bits, bits.integers(2 * occurring, 2), alphabet)
    least = bits.integers(1)[0] if number > 1 else 0
    sizes = [least + more for more in bits.integers(number - 1)]
    data = bits.rest()
    if table_bits == 0:
        check(number == 1 and not data, "one symbol")
        return table.symbols * count
    coded = lanes_of(data, sizes)
    decoded = [coded[place % number].symbol(table) for place in range(count)]
    for lane in coded:
        lane.end()
    return decoded


def rans_order1(payload: bytes, count: int, alphabet: int) -> list[int]:
    if count == 0 or alphabet == 1:
        check(not payload, "payload")
        return [0] * count
    check(payload[0] <= 4, "lanes")
    bits, number = Bits(payload[1:]), 1 << payload[0]
    tables, shared = contexts(bits, alphabet)
    *sizes, last = bits.integers(number)
    coded, decoded = lanes_of(bits.rest(), sizes), []
    check(len(coded[-1].words.data) == 2 * last, "bytes left over")
    stretch = -(-count // number)
    for lane in coded:
        context = 0
        for _ in range(min(stretch, count - len(decoded))):
            context = lane.symbol(tables.get(context, shared))
            decoded.append(context)
        lane.end()
    return decoded


def contexts(bits: Bits, alphabet: int) -> tuple[dict[int, Table], Table]:
    """The tables of contexts that have their own, and the one that the others share."""
    shared_bits, occurring = bits.integers(2)
    shared_table = bits.integers(2 * occurring, 2)
    shared = Table.of(shared_bits, shared_table, alphabet) if occurring else Table(0, [], [], [])
    own = bits.integers(1)[0]
    shapes = bits.integers(3 * own, 3)
    sizes = [2 * (less + 1) for less in shapes[2::3]]
    integers = iter(bits.integers(sum(sizes), 2))
    tables = [
        Table.of(table_bits, [next(integers) for _ in range(size)], alphabet)
        for table_bits, size in zip(shapes[1::3], sizes, strict=True)
    ]
    return dict(zip(not_skipped(shapes[::3]), tables, strict=True)), shared


def lz77(payload: bytes, count: int, alphabet: int) -> list[int]:
    if count == 0 or alphabet == 1:
        check(not payload, "payload")
        return [0] * count
    bits = Bits(payload)
    sequences, literals = bits.integers(2)
    shapes = bits.integers(14, 2)
    reader = Reader(bits.rest())

    def stream(place: int, count: int | None, alphabet: int = 256) -> list[int]:
        data, coder = reader.take(shapes[2 * place]), (raw, rans, huffman)[shapes[2 * place + 1]]
        return coder(data, len(data) if count is None else count, alphabet)

    plain = iter(stream(0, literals, alphabet))
    runs, lengths, distances = (
        iter(from_buckets(stream(place, sequences, 128), stream(place + 1, None), 4, 2)) for place in (1, 3, 5)
    )
    reader.end()
    return copies(plain, zip(runs, lengths, distances, strict=True), count)


def copies(literals: Iterator[int], sequences: Iterator[tuple[int, int, int]], count: int) -> list[int]:
    output: list[int] = []
    distance = 1
    for run, length, number in sequences:
        output += [next(literals) for _ in range(run)]
        distance = number - 1 if number else distance
        check(0 < distance <= len(output), "distance")
        for _ in range(length + 3):
            output.append(output[-distance])
    output += literals
    check(len(output) == count, "count")
    return output


def lzw(payload: bytes, count: int, alphabet: int) -> list[int]:
    """TIFF 6.0, section 13: codes of 9 to 12 bits, a bit more as soon as the next but one entry needs it."""
    if count == 0:
        check(not payload, "payload")
        return []
    bits, output, entries, before = Bits(payload), bytearray(), [b""] * 258, b""
    check(bits.take(9) == 256, "no clear code")
    while (code := bits.take(min(max((len(entries) + 1 - (not before)).bit_length(), 9), 12))) != 257:
        if code == 256:
            entries, before = [b""] * 258, b""
            continue
        check(code < 256 or 258 <= code <= len(entries), "code")
        value = bytes([code]) if code < 256 else [*entries, before + before[:1]][code]
        if before:
            entries.append(before + value[:1])
        before = value
        output += value
    check(not bits.rest() and len(output) == count, "bytes left over")
    check(max(output) < alphabet, "symbol")
    return list(output)


def zstd(payload: bytes, count: int, alphabet: int) -> list[int]:
    return raw(unpack(payload) if payload else b"", count, alphabet)
