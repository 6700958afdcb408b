"""LZW over bytes. The payload is a TIFF strip: other decoders of that format read it, and we read theirs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mdlake.coding.coder import check_alphabet, checked_symbols
from mdlake.errors import CorruptError, TruncatedError
from mdlake.kernels import lzw as kernel


@dataclass(frozen=True)
class LzwCoder:
    name: str = "lzw"
    max_alphabet: int = 256

    def encode(self, symbols: np.ndarray, alphabet: int) -> bytes:
        symbols = checked_symbols(self, symbols, alphabet)
        if symbols.size == 0:
            return b""
        keys, codes = np.empty(1 << kernel.HASH_BITS, np.int32), np.empty(1 << kernel.HASH_BITS, np.int32)
        data = np.zeros(2 * symbols.size + 16, np.uint8)
        bits = kernel.encode(symbols, keys, codes, data)
        return data[: -(-bits // 8)].tobytes()

    def decode(self, data: bytes | memoryview, count: int, alphabet: int) -> np.ndarray:
        check_alphabet(self, alphabet, count)
        symbols = np.empty(count, np.uint8)
        if count == 0:
            if len(data):
                raise CorruptError(f"{len(data)} bytes where no symbol needs any")
            return symbols
        stream = np.frombuffer(data, np.uint8)
        starts, lengths = np.zeros(kernel.FULL + 2, np.int64), np.zeros(kernel.FULL + 2, np.int64)
        bits = int(kernel.decode(stream, symbols, starts, lengths))
        if bits == -1:
            raise TruncatedError(f"the LZW stream ends after {len(data)} bytes without its end code")
        if bits < 0:
            raise CorruptError(f"the LZW stream has an impossible code, or not {count} symbols")
        if len(data) != -(-bits // 8):
            raise CorruptError(f"{len(data) - -(-bits // 8)} bytes follow the LZW stream")
        if bits % 8 and int(stream[-1]) & (0xFF >> bits % 8):
            raise CorruptError("the bits after the LZW stream are not zero")
        if int(symbols.max()) >= alphabet:
            raise CorruptError(f"symbol {symbols.max()} in an alphabet of {alphabet}")
        return symbols
