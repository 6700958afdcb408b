"""Canonical, length-limited Huffman codes: a whole number of bits for each symbol.

Payload: one byte (the binary logarithm of the lanes), then as packed integers the number of symbols
that occur less one, the gaps between them in turn with how much each code length differs from the one
before (zigzag), and the bytes of each lane but the last; then the lanes' bit streams, each padded to a
byte with zeros. If one symbol alone occurs, nothing follows its gap and its length of 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mdlake.coding.coder import MAX_ALPHABET, checked_symbols, count_symbols, symbol_dtype, without_payload
from mdlake.coding.integers import IntegerReader, pack_integers
from mdlake.errors import CorruptError, TruncatedError
from mdlake.kernels import huffman as kernel

LONGEST = 15  # a code and its length then share 16 bits in the decoder's table
LANES = 8
LANE_BYTES = 512  # a lane costs about two bytes


@dataclass(frozen=True)
class HuffmanCode:
    """`symbols` that occur, ascending, and the `lengths` of their codes in bits (0 if there is but one)."""

    symbols: np.ndarray
    lengths: np.ndarray

    @staticmethod
    def of_counts(counts: np.ndarray, limit: int = LONGEST) -> HuffmanCode:
        """The code with the fewest bits for these counts among those no longer than `limit`."""
        symbols = np.flatnonzero(counts)
        lengths = np.zeros(symbols.size, np.int64)
        if symbols.size > 1:
            order = np.argsort(counts[symbols], kind="stable")
            ascending = np.empty(symbols.size, np.int64)
            kernel.package_merge(counts[symbols][order], limit, ascending)
            lengths[order] = ascending
        return HuffmanCode(symbols, lengths)

    def to_integers(self) -> np.ndarray:
        steps = np.diff(self.lengths, prepend=0)
        gaps = np.diff(self.symbols, prepend=-1) - 1
        return np.column_stack((gaps, np.where(steps < 0, -2 * steps - 1, 2 * steps))).reshape(-1)

    @staticmethod
    def of_integers(integers: np.ndarray, alphabet: int) -> HuffmanCode:
        symbols = np.cumsum(integers[0::2] + 1) - 1
        steps = np.where(integers[1::2] & 1, -(integers[1::2] + 1) // 2, integers[1::2] // 2)
        lengths = np.cumsum(steps)
        if symbols[-1] >= alphabet:
            raise CorruptError(f"the Huffman code names symbol {symbols[-1]} of an alphabet of {alphabet}")
        if symbols.size == 1:
            complete = lengths[0] == 0
        else:
            inside = lengths.min() >= 1 and lengths.max() <= LONGEST
            complete = inside and (1 << (LONGEST - lengths)).sum() == 1 << LONGEST
        if not complete:
            raise CorruptError("the lengths of the Huffman code violate Kraft's equality")
        return HuffmanCode(symbols, lengths)

    def tables(self, alphabet: int) -> tuple[np.ndarray, np.ndarray]:
        """For encoding by symbol, and for decoding by the next bits."""
        longest = int(self.lengths.max())
        codes, table = np.zeros(alphabet, np.uint32), np.empty(1 << longest, np.uint16)
        kernel.canonical_codes(self.symbols, self.lengths, longest, codes, table)
        return codes, table


@dataclass(frozen=True)
class HuffmanCoder:
    name: str = "huffman"
    max_alphabet: int = MAX_ALPHABET

    def encode(self, symbols: np.ndarray, alphabet: int) -> bytes:
        symbols = checked_symbols(self, symbols, alphabet)
        if symbols.size == 0 or alphabet == 1:
            return b""
        counts = count_symbols(symbols, alphabet)
        code = HuffmanCode.of_counts(counts)
        integers = np.concatenate(([code.symbols.size - 1], code.to_integers()))
        if code.symbols.size == 1:
            return b"\x00" + pack_integers(integers[:1], integers[1:], kinds=(1, 2))
        total = int((counts[code.symbols] * code.lengths).sum())
        lanes = LANES if total >= LANES * LANE_BYTES * 8 else 1
        steps = -(-symbols.size // lanes)
        pitch = steps * int(code.lengths.max()) // 32 + 2
        words, bits = np.empty(lanes * pitch, np.uint32), np.empty(lanes, np.uint64)
        kernel.encode(symbols, code.tables(alphabet)[0], np.arange(lanes) * pitch, words, bits)
        sizes = (bits.astype(np.int64) + 7) // 8
        data = words.astype(">u4").view(np.uint8).reshape(lanes, -1)
        head = pack_integers(integers[:1], integers[1:], sizes[:-1], kinds=(1, 2, 1))
        streams = [data[lane, :size].tobytes() for lane, size in enumerate(sizes.tolist())]
        return b"".join((bytes([lanes.bit_length() - 1]), head, *streams))

    def decode(self, data: bytes | memoryview, count: int, alphabet: int) -> np.ndarray:
        if (symbols := without_payload(self, data, count, alphabet)) is not None:
            return symbols
        lanes = 1 << data[0] if data[0] < 8 else 0
        if not 1 <= lanes <= LANES:
            raise CorruptError(f"no such Huffman layout: {data[0]}")
        reader = IntegerReader(memoryview(data)[1:])
        distinct = int(reader.read(1)[0]) + 1
        if distinct > alphabet:
            raise CorruptError(f"{distinct} symbols occur, of an alphabet of {alphabet}")
        code = HuffmanCode.of_integers(reader.read(2 * distinct, kinds=2), alphabet)
        if distinct == 1:
            if lanes > 1 or reader.rest().size:
                raise CorruptError("bytes follow the code of a single symbol")
            return np.full(count, code.symbols[0], symbol_dtype(alphabet))
        sizes = reader.read(lanes - 1)
        return _decode_lanes(reader.rest(), sizes, code, count, alphabet)


def _decode_lanes(body: np.ndarray, sizes: np.ndarray, code: HuffmanCode, count: int, alphabet: int) -> np.ndarray:
    """Decodes, then checks that every lane ends in its last byte, with zeros behind."""
    last = body.size - int(sizes.sum())
    if last < 0:
        raise TruncatedError(f"{body.size} bytes of Huffman codes, not {body.size - last} or more")
    sizes = np.append(sizes, last)
    longest = int(code.lengths.max())
    reach = -(-count // sizes.size) * longest  # bits; a corrupt lane may run so far, but no further
    if int(sizes.max()) > reach // 8 + 1:
        raise CorruptError(f"a Huffman lane has {sizes.max()} bytes for {reach} bits")
    pitch = (int(sizes.max()) + 3) // 4 * 4
    scratch = np.zeros(pitch * sizes.size + reach // 8 + 16 & ~7, np.uint8)
    offset = 0
    for lane, size in enumerate(sizes.tolist()):
        scratch[lane * pitch : lane * pitch + size] = body[offset : offset + size]
        offset += size
    words = scratch.view(">u4").astype(np.uint64)
    windows = words << np.uint64(32)
    windows[:-1] |= words[1:]
    starts = np.arange(sizes.size, dtype=np.uint64) * np.uint64(8 * pitch)
    positions = starts.copy()
    symbols = np.empty(count, symbol_dtype(alphabet))
    kernel.decode(windows, positions, code.tables(alphabet)[1], longest, symbols)
    ends = (positions - starts).astype(np.int64)
    if ((ends + 7) // 8 > sizes).any():
        raise TruncatedError("the Huffman codes end before the last symbol")
    if ((ends + 7) // 8 < sizes).any():
        raise CorruptError("bytes follow the last Huffman code of a lane")
    padding = scratch[np.maximum(positions.astype(np.int64) - 1, 0) // 8] & (0xFF >> ((ends + 7) % 8 + 1))
    if padding.any():
        raise CorruptError("the bits after the last Huffman code of a lane are not zero")
    return symbols
