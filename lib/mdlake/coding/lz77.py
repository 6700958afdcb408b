"""LZ77 with entropy coding: repeats in bytes become copies, and what is left is coded by symbol.

Payload, as packed integers: the number of sequences, of literals, then of each of seven streams its
bytes and which coder of `INNER` it takes; then the streams: the literals, and of literal runs, match
lengths and distances each the buckets and the extra bits (`coding.buckets`). A distance is stored plus
one; 0 says that it is that of the match before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mdlake.coding.buckets import bucket_table, from_buckets, to_buckets
from mdlake.coding.coder import checked_symbols, count_symbols, without_payload
from mdlake.coding.frequencies import FrequencyTable, payload_bits, table_bits
from mdlake.coding.huffman import HuffmanCoder
from mdlake.coding.integers import IntegerReader, pack_integers
from mdlake.coding.rans import RansCoder
from mdlake.coding.raw import RawCoder
from mdlake.errors import CorruptError, TruncatedError
from mdlake.kernels import lz77 as kernel

INNER = (RawCoder(), RansCoder(), HuffmanCoder())
DIRECT, MANTISSA, VALUE_BITS = 4, 2, 32
BUCKETS = len(bucket_table(DIRECT, MANTISSA, VALUE_BITS)[0])
MAX_HASH_BITS = 18
STREAMS = 7


@dataclass(frozen=True)
class Lz77Coder:
    """`depth`: how many earlier places are compared at each byte."""

    name: str = "lz77"
    max_alphabet: int = 256
    depth: int = 16

    def encode(self, symbols: np.ndarray, alphabet: int) -> bytes:
        symbols = checked_symbols(self, symbols, alphabet)
        if symbols.size == 0 or alphabet == 1:
            return b""
        sequences = self._sequences(symbols, alphabet)
        literals = np.empty(symbols.size, np.uint8)
        literals = literals[: kernel.gather_literals(symbols, sequences, literals)]
        streams = [_shortest(literals, alphabet)]
        for values in _relative(sequences).T:
            streams += _encode_values(np.ascontiguousarray(values))
        sizes = np.array([(len(data), inner) for inner, data in streams], np.int64)
        counts = np.array([sequences.shape[0], literals.size], np.int64)
        return pack_integers(counts, sizes.reshape(-1), kinds=(1, 2)) + b"".join(data for _, data in streams)

    def decode(self, data: bytes | memoryview, count: int, alphabet: int) -> np.ndarray:
        if (symbols := without_payload(self, data, count, alphabet)) is not None:
            return symbols
        reader = IntegerReader(data)
        matches, literal_count = (int(n) for n in reader.read(2))
        if literal_count + matches * kernel.SHORTEST_AGAIN > count:
            raise CorruptError(f"{literal_count} literals and {matches} matches are more than {count} bytes")
        sizes, inner = reader.read(2 * STREAMS, kinds=2).reshape(STREAMS, 2).T
        if int(inner.max()) >= len(INNER):
            raise CorruptError(f"no inner coder {inner.max()}")
        body = reader.rest().data
        if int(sizes.sum()) != len(body):
            kind = TruncatedError if int(sizes.sum()) > len(body) else CorruptError
            raise kind(f"{len(body)} bytes of LZ77 streams, not {sizes.sum()}")
        ends = np.cumsum(sizes).tolist()
        parts = [body[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        literals = INNER[inner[0]].decode(parts[0], literal_count, alphabet)
        sequences = np.empty((matches, 3), np.int64)
        symbols = np.zeros(count, np.uint8)
        for column in range(3):
            at = 1 + 2 * column
            chosen = INNER[inner[at]].decode(parts[at], matches, BUCKETS)
            packed = np.frombuffer(parts[at + 1], np.uint8)
            sequences[:, column] = from_buckets(chosen, packed, DIRECT, MANTISSA, VALUE_BITS)
        if kernel.copy_sequences(_absolute(sequences), np.ascontiguousarray(literals), symbols) < 0:
            raise CorruptError(f"the LZ77 sequences do not make {count} bytes")
        if int(symbols.max()) >= alphabet:
            raise CorruptError(f"symbol {symbols.max()} in an alphabet of {alphabet}")
        return symbols

    def _sequences(self, symbols: np.ndarray, alphabet: int) -> np.ndarray:
        """Rows of literals, length, distance."""
        hash_bits = min(max(symbols.size.bit_length(), 8), MAX_HASH_BITS)
        head, chain = np.zeros(1 << hash_bits, np.uint32), np.empty(symbols.size, np.uint32)
        sequences = np.empty((symbols.size // kernel.SHORTEST_AGAIN, 3), np.int64)
        price = _literal_price(symbols, alphabet)
        count = kernel.find_sequences(symbols, self.depth, price, head, chain, 32 - hash_bits, sequences)
        return sequences[:count]


def _literal_price(symbols: np.ndarray, alphabet: int) -> int:
    """What a symbol costs without copies, in 1/16 bits, rounded up."""
    counts = count_symbols(symbols, alphabet)
    table = FrequencyTable.of_counts(counts, table_bits(counts))
    return 16 * payload_bits(counts, table) // symbols.size + 1


def _relative(sequences: np.ndarray) -> np.ndarray:
    """Lengths from the shortest on; distances plus one, or 0 where one repeats."""
    literals, lengths, distances = sequences.T
    repeated = np.diff(distances, prepend=1) == 0
    return np.stack((literals, lengths - kernel.SHORTEST_AGAIN, np.where(repeated, 0, distances + 1)), axis=1)


def _absolute(sequences: np.ndarray) -> np.ndarray:
    literals, lengths, distances = sequences.T
    named = np.where(distances > 0, np.arange(1, distances.size + 1), 0)
    known = np.concatenate(([1], distances - 1))[np.maximum.accumulate(named)]
    return np.stack((literals, lengths + kernel.SHORTEST_AGAIN, known), axis=1)


def _shortest(symbols: np.ndarray, alphabet: int) -> tuple[int, bytes]:
    payloads = [coder.encode(symbols, alphabet) for coder in INNER]
    best = min(range(len(INNER)), key=lambda inner: len(payloads[inner]))
    return best, payloads[best]


def _encode_values(values: np.ndarray) -> list[tuple[int, bytes]]:
    """The buckets coded, and the bits within them as they are."""
    chosen, packed = to_buckets(values, DIRECT, MANTISSA)
    return [_shortest(chosen.astype(np.uint8), BUCKETS), (0, packed.tobytes())]
