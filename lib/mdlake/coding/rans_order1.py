"""Order-1 rANS: static frequencies by the symbol before, where a table for that symbol pays.

Payload: a byte, the binary logarithm of the lanes; as packed integers the shared table (its bits, how many symbols it
has, the table), how many contexts have their own, those contexts (three kinds: how many are skipped, bits, symbols less
one), their tables one after another, and the words of each lane; the state of each lane and its words as in `rans`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mdlake.coding.coder import MAX_ALPHABET, checked_symbols, symbol_dtype, without_payload
from mdlake.coding.integers import IntegerReader, pack_integers
from mdlake.coding.pair_tables import PairTables
from mdlake.errors import CorruptError, TruncatedError
from mdlake.kernels import rans_order1 as kernel
from mdlake.kernels.rans import START

MAX_LANES = 16
LANE_SYMBOLS = 4096


@dataclass(frozen=True)
class RansOrder1Coder:
    name: str = "rans_order1"
    max_alphabet: int = MAX_ALPHABET

    def encode(self, symbols: np.ndarray, alphabet: int) -> bytes:
        symbols = checked_symbols(self, symbols, alphabet)
        if symbols.size == 0 or alphabet == 1:
            return b""
        lanes = 1
        while lanes < MAX_LANES and lanes * 2 * LANE_SYMBOLS <= symbols.size:
            lanes *= 2
        length = -(-symbols.size // lanes)
        pairs = contexts_of(symbols, length).astype(np.int32) * alphabet + symbols
        coded = pa.array(pairs).dictionary_encode()
        keys = coded.dictionary.to_numpy()
        order = np.argsort(keys)
        place = np.empty(len(keys), np.int32)
        place[order] = np.arange(len(keys), dtype=np.int32)
        pairs = place[coded.indices.to_numpy()]
        keys, counts = keys[order].astype(np.int64), np.bincount(pairs)
        tables = PairTables.of_counts(keys // alphabet, keys % alphabet, counts, alphabet)
        states, sizes = np.empty(lanes, np.uint32), np.empty(lanes, np.int64)
        words = np.empty(lanes * length, np.uint16)
        kernel.encode(pairs, length, *tables.slots(keys // alphabet, keys % alphabet), states, words, sizes)
        lists, kinds = tables.to_integers()
        head = pack_integers(*lists, sizes, kinds=(*kinds, 1))
        ends = range(length, lanes * length + 1, length)
        streams = (words[end - size : end] for end, size in zip(ends, sizes.tolist(), strict=True))
        body = [stream.astype("<u2", copy=False).tobytes() for stream in streams]
        return b"".join((bytes([lanes.bit_length() - 1]), head, states.astype("<u4").tobytes(), *body))

    def decode(self, data: bytes | memoryview, count: int, alphabet: int) -> np.ndarray:
        if (symbols := without_payload(self, data, count, alphabet)) is not None:
            return symbols
        lanes = 1 << min(data[0], 63)
        if lanes > MAX_LANES or (lanes - 1) * -(-count // lanes) >= count:
            raise CorruptError(f"{lanes} lanes for {count} symbols are not order-1 rANS")
        reader = IntegerReader(memoryview(data)[1:])
        tables = PairTables.read(reader, alphabet, 8 * len(data))
        sizes = reader.read(lanes)
        body = reader.rest()
        length = -(-count // lanes)
        needed = 4 * lanes + 2 * int(sizes.sum())
        if body.size != needed:
            fault = TruncatedError if body.size < needed else CorruptError
            raise fault(f"{body.size} bytes of rANS words, not {needed}")
        if int(sizes.max()) > length:
            raise CorruptError(f"a rANS lane has {sizes.max()} words for {length} symbols")
        words = np.zeros(int(sizes.sum()) + length, np.uint16)  # a corrupt lane may run `length` words too far
        words[: int(sizes.sum())] = body[4 * lanes :].view("<u2")
        ends = np.cumsum(sizes)
        positions = ends - sizes
        states = body[: 4 * lanes].view("<u4").astype(np.uint32)
        symbols = np.empty(count, symbol_dtype(alphabet))
        kernel.decode(words, positions, states, *tables.entries(alphabet), length, symbols)
        if bool((states != START).any()) or bool((positions != ends).any()):
            raise CorruptError("the rANS lanes do not end where they began")
        return symbols


def contexts_of(symbols: np.ndarray, length: int) -> np.ndarray:
    """The symbol before each, 0 at the start of every stretch of `length`."""
    contexts = np.empty_like(symbols)
    contexts[1:] = symbols[:-1]
    contexts[::length] = 0
    return contexts
