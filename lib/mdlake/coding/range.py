"""The range coder with adaptive models: slow, and close to the entropy without any table.

Payload: one byte, the order (0, or 1 where the previous symbol is the context) and twice the size of
the stream modulo 128, and the stream. Any bytes are the code of some symbols, a stream cut short too:
without the size nothing would tell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mdlake.coding.adaptive import TreeModel
from mdlake.coding.coder import MAX_ALPHABET, checked_symbols, symbol_dtype, without_payload
from mdlake.coding.stream_end import ENDING, check_ending, mark, marked_stream
from mdlake.errors import CorruptError
from mdlake.kernels import adaptive_range


@dataclass(frozen=True)
class RangeCoder:
    """`orders`: which are tried; the shorter payload is kept."""

    name: str = "range"
    max_alphabet: int = MAX_ALPHABET
    orders: tuple[int, ...] = (0, 1)

    def encode(self, symbols: np.ndarray, alphabet: int) -> bytes:
        symbols = checked_symbols(self, symbols, alphabet)
        if symbols.size == 0 or alphabet == 1:
            return b""
        return min((_encode_order(symbols, order, alphabet) for order in self.orders), key=len)

    def decode(self, data: bytes | memoryview, count: int, alphabet: int) -> np.ndarray:
        if (symbols := without_payload(self, data, count, alphabet)) is not None:
            return symbols
        stream = marked_stream(data, data[0] >> 1)
        model = TreeModel.of_order(data[0] & 1, alphabet)
        symbols = np.empty(count, symbol_dtype(alphabet))
        ending = np.empty(ENDING, np.uint8)
        settled = adaptive_range.decode_symbols(
            stream, model.depth, model.context_shift, model.nodes(), model.rates(), symbols, ending
        )
        check_ending(stream, settled, ending)
        if int(symbols.max()) >= alphabet:
            raise CorruptError(f"symbol {symbols.max()} in an alphabet of {alphabet}")
        return symbols


def _encode_order(symbols: np.ndarray, order: int, alphabet: int) -> bytes:
    model = TreeModel.of_order(order, alphabet)
    data = np.empty(3 * symbols.size * model.depth + 8, np.uint8)
    size = adaptive_range.encode_symbols(symbols, model.depth, model.context_shift, model.nodes(), model.rates(), data)
    return bytes([order | mark(size) << 1]) + data[:size].tobytes()
