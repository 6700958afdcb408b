"""What a coder is, and the checks that every binding shares.

A coder turns symbols into bytes and back; it adds neither the number of symbols nor the size of their
alphabet (the block knows both) nor a checksum (the block has one). Whatever else decoding needs is in
the payload. Decoding any bytes at all ends in `count` symbols, a `CorruptError` or a `TruncatedError`.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from mdlake.errors import CorruptError, InvalidArgumentError, TruncatedError
from mdlake.kernels import histogram

MAX_ALPHABET = 4096


class Coder(Protocol):
    """Symbols are 1-D arrays of uint8 or uint16, each less than `alphabet`."""

    @property
    def name(self) -> str: ...

    @property
    def max_alphabet(self) -> int: ...

    def encode(self, symbols: np.ndarray, alphabet: int) -> bytes:
        """The payload; the same bytes for the same symbols on every machine."""
        ...

    def decode(self, data: bytes | memoryview, count: int, alphabet: int) -> np.ndarray:
        """`count` symbols: uint8 if alphabet <= 256, else uint16. The array may be read-only."""
        ...


def symbol_dtype(alphabet: int) -> np.dtype:
    return np.dtype(np.uint8 if alphabet <= 256 else np.uint16)


def without_payload(coder: Coder, data: bytes | memoryview, count: int, alphabet: int) -> np.ndarray | None:
    """The symbols where there is but one way they can be, so that no payload says it; None where one must."""
    check_alphabet(coder, alphabet, count)
    if count and alphabet > 1:
        if len(data) == 0:
            raise TruncatedError(f"no bytes for {count} symbols")
        return None
    if len(data):
        raise CorruptError(f"{len(data)} bytes where no symbol needs any")
    return np.zeros(count, symbol_dtype(alphabet))


def check_alphabet(coder: Coder, alphabet: int, count: int = 0) -> None:
    if not 1 <= alphabet <= coder.max_alphabet:
        raise InvalidArgumentError(f"{coder.name} takes alphabets of 1 to {coder.max_alphabet}, not {alphabet}")
    if not 0 <= count < 1 << 32:
        raise InvalidArgumentError(f"{coder.name} codes fewer than 2**32 symbols at once, not {count}")


def checked_symbols(coder: Coder, symbols: np.ndarray, alphabet: int) -> np.ndarray:
    """The symbols as a contiguous array of the alphabet's dtype, each known to be less than alphabet."""
    check_alphabet(coder, alphabet, symbols.size)
    if symbols.ndim != 1 or symbols.dtype not in (np.uint8, np.uint16):
        raise InvalidArgumentError(f"symbols are {symbols.ndim}-D {symbols.dtype}, not 1-D uint8 or uint16")
    full = alphabet > np.iinfo(symbols.dtype).max  # then no value can be too large
    if symbols.size and not full and int(symbols.max()) >= alphabet:
        raise InvalidArgumentError(f"symbol {symbols.max()} is outside an alphabet of {alphabet}")
    return np.ascontiguousarray(symbols, dtype=symbol_dtype(alphabet))


def count_symbols(symbols: np.ndarray, alphabet: int) -> np.ndarray:
    """How often each symbol occurs, int64 by symbol."""
    rows = np.zeros((4, alphabet), np.uint32)
    histogram.count_symbols(symbols, rows)
    return rows.sum(axis=0, dtype=np.int64)
