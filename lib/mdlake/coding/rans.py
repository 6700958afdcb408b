"""rANS: static frequencies, many lanes. The fast coder.

Payload: one byte (table bits, and the binary logarithm of the lanes times 16), then as packed integers
the number of symbols that occur less one, the frequency table and how many words each lane but the
last has; then the state of each lane (uint32) and the words of each lane (uint16), little-endian.
If one symbol alone occurs, the table bits are 0 and nothing follows the integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mdlake.coding.coder import MAX_ALPHABET, checked_symbols, count_symbols, symbol_dtype, without_payload
from mdlake.coding.frequencies import MAX_BITS, FrequencyTable, payload_bits, table_bits
from mdlake.coding.integers import IntegerReader, pack_integers
from mdlake.errors import CorruptError, TruncatedError
from mdlake.kernels import rans as kernel

MAX_LANES = 64
WIDE = 16  # lanes from which the wide kernels are faster
LANE_BYTES = 2048  # a lane costs about five bytes: with so many of its own, a quarter of a per cent
CACHE_LINE = 32  # words


@dataclass(frozen=True)
class RansCoder:
    name: str = "rans"
    max_alphabet: int = MAX_ALPHABET

    def encode(self, symbols: np.ndarray, alphabet: int) -> bytes:
        symbols = checked_symbols(self, symbols, alphabet)
        if symbols.size == 0 or alphabet == 1:
            return b""
        counts = count_symbols(symbols, alphabet)
        table = FrequencyTable.of_counts(counts, table_bits(counts))
        integers = np.concatenate(([table.symbols.size - 1], table.to_integers()))
        if table.bits == 0:
            return b"\x00" + pack_integers(integers[:1], integers[1:], kinds=(1, 2))
        lanes = 1
        while lanes < MAX_LANES and lanes * 2 * LANE_BYTES * 8 <= payload_bits(counts, table):
            lanes *= 2
        states, streams = _encode_words(symbols, table, alphabet, lanes)
        lengths = np.array([stream.size for stream in streams[:-1]], np.int64)
        head = pack_integers(integers[:1], integers[1:], *_relative(lengths), kinds=(1, 2, 1, 1))
        layout = bytes([table.bits | (lanes.bit_length() - 1) << 4])
        words = [stream.astype("<u2", copy=False).tobytes() for stream in streams]
        return b"".join((layout, head, states.astype("<u4").tobytes(), *words))

    def decode(self, data: bytes | memoryview, count: int, alphabet: int) -> np.ndarray:
        if (symbols := without_payload(self, data, count, alphabet)) is not None:
            return symbols
        bits, lanes = data[0] & 15, 1 << (data[0] >> 4)
        if bits > MAX_BITS or lanes > MAX_LANES or (bits == 0 and lanes > 1):
            raise CorruptError(f"no such rANS layout: {bits} bits, {lanes} lanes")
        reader = IntegerReader(memoryview(data)[1:])
        distinct = int(reader.read(1)[0]) + 1
        if distinct > min(alphabet, 1 << bits):
            raise CorruptError(f"{distinct} symbols occur, of an alphabet of {alphabet} in {1 << bits} slots")
        table = FrequencyTable.of_integers(reader.read(2 * distinct, kinds=2), bits, alphabet)
        if bits == 0:
            if reader.rest().size:
                raise CorruptError("bytes follow the table of a single symbol")
            return np.full(count, table.symbols[0], symbol_dtype(alphabet))
        if distinct == 1:
            raise CorruptError("a table of more than one slot with a single symbol")
        lengths = reader.read(1)[0] + reader.read(lanes - 1) if lanes > 1 else np.zeros(0, np.int64)
        return _decode_words(reader.rest(), lengths, table, count, alphabet)


def _relative(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lane lengths are nearly equal: the least of them, and by how much each exceeds it."""
    least = lengths[lengths.argmin()][None] if lengths.size else lengths
    return least, lengths - least


def _lane_starts(lengths: np.ndarray) -> np.ndarray:
    """Where each lane's words begin in a scratch buffer, and where the last one ends.

    Lanes a power of two apart would share the same few cache sets: each starts a line further.
    """
    page = 64 * CACHE_LINE
    pitch = -(-lengths // page) * page + CACHE_LINE if lengths.sum() > 8 * page else lengths
    return np.concatenate(([0], np.cumsum(pitch)))


def _encode_words(
    symbols: np.ndarray, table: FrequencyTable, alphabet: int, lanes: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The final states and each lane's words in reading order."""
    reciprocals, ranges = np.zeros(alphabet, np.uint32), np.zeros(alphabet, np.uint32)
    kernel.fill_encode_tables(table.symbols, table.frequencies, reciprocals, ranges)
    steps = symbols.size // lanes
    starts = _lane_starts(np.full(lanes, steps + 2))  # a word a step at most, and one free slot
    ends = starts[:-1] + steps + 1
    words = np.empty(starts[-1], np.uint16)
    states = np.full(lanes, kernel.START, np.uint32)
    positions = ends.astype(np.uint32)
    tail = steps * lanes if lanes >= WIDE else 0
    kernel.encode_lanes(symbols, tail, reciprocals, ranges, table.bits, states, words, positions)
    if tail:
        kernel.encode_wide(symbols, steps, reciprocals, ranges, table.bits, states, words, positions)
    return states, [words[p + 1 : end + 1] for p, end in zip(positions.tolist(), ends.tolist(), strict=True)]


def _decode_words(
    body: np.ndarray, lengths: np.ndarray, table: FrequencyTable, count: int, alphabet: int
) -> np.ndarray:
    """Decodes, then checks that every lane is back at the start with no word left over."""
    lanes = lengths.size + 1
    last = body.size - 4 * lanes - 2 * int(lengths.sum())
    if last < 0:
        raise TruncatedError(f"{body.size} bytes of rANS words, not {body.size - last} or more")
    if last % 2:
        raise CorruptError("half a rANS word")
    lengths = np.append(lengths, last // 2)
    steps = -(-count // lanes)
    if int(lengths.max()) > steps:
        raise CorruptError(f"a rANS lane has {lengths.max()} words for {steps} symbols")
    starts = _lane_starts(lengths)
    words = np.zeros(starts[-1] + steps + 1, np.uint16)  # a corrupt lane may run `steps` words too far
    source = body[4 * lanes :].view("<u2")
    offset = 0
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=False):
        words[start : start + length] = source[offset : offset + length]
        offset += length
    states = body[: 4 * lanes].view("<u4").astype(np.uint32)
    positions = starts[:-1].astype(np.uint32)
    entries = np.empty(1 << table.bits, np.uint64)
    kernel.fill_decode_table(table.symbols, table.frequencies, entries)
    symbols = np.empty(count, symbol_dtype(alphabet))
    tail = count // lanes * lanes if lanes >= WIDE else 0
    if tail:
        kernel.decode_wide(words, positions, states, entries, table.bits, symbols, count // lanes)
    kernel.decode_lanes(words, positions, states, entries, table.bits, symbols, tail)
    if (states != kernel.START).any() or (positions != starts[:-1] + lengths).any():
        raise CorruptError("the rANS lanes do not end where they began")
    return symbols
