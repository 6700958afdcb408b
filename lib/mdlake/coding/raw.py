"""No coding: symbols as bytes, or as little-endian pairs of bytes for alphabets above 256."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mdlake.coding.coder import check_alphabet, checked_symbols, symbol_dtype
from mdlake.errors import CorruptError, TruncatedError


def symbols_to_bytes(symbols: np.ndarray) -> bytes:
    return symbols.astype(symbols.dtype.newbyteorder("<"), copy=False).tobytes()


def symbols_of_bytes(data: bytes | memoryview, count: int, alphabet: int) -> np.ndarray:
    """Without a copy; raises unless there are exactly `count` symbols, each in the alphabet."""
    dtype = symbol_dtype(alphabet)
    if len(data) < count * dtype.itemsize:
        raise TruncatedError(f"{len(data)} bytes for {count} symbols of {dtype.itemsize}")
    if len(data) > count * dtype.itemsize:
        raise CorruptError(f"{len(data)} bytes for {count} symbols of {dtype.itemsize}")
    symbols = np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype, copy=False)
    if count and alphabet <= np.iinfo(dtype).max and int(symbols.max()) >= alphabet:
        raise CorruptError(f"symbol {symbols.max()} in an alphabet of {alphabet}")
    return symbols


@dataclass(frozen=True)
class RawCoder:
    name: str = "raw"
    max_alphabet: int = 1 << 16

    def encode(self, symbols: np.ndarray, alphabet: int) -> bytes:
        return symbols_to_bytes(checked_symbols(self, symbols, alphabet))

    def decode(self, data: bytes | memoryview, count: int, alphabet: int) -> np.ndarray:
        check_alphabet(self, alphabet, count)
        return symbols_of_bytes(data, count, alphabet)
