"""Zstandard (RFC 8878) of the plain symbols, through the zstandard library.

The frame carries no magic number, no content size and no checksum: the block knows or has them all.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import zstandard

from mdlake.coding.coder import check_alphabet, checked_symbols, symbol_dtype
from mdlake.coding.raw import symbols_of_bytes, symbols_to_bytes
from mdlake.errors import CorruptError, TruncatedError

THOROUGH, LIGHT = 19, 3


@dataclass(frozen=True)
class ZstdCoder:
    """`level`: 1 to 22; up to `thorough` bytes it is 19."""

    name: str = "zstd"
    max_alphabet: int = 1 << 16
    level: int = 9
    thorough: int = 1 << 17  # takes less than a tenth of a second

    def encode(self, symbols: np.ndarray, alphabet: int) -> bytes:
        plain = symbols_to_bytes(checked_symbols(self, symbols, alphabet))
        if not plain:
            return b""
        level = THOROUGH if len(plain) <= self.thorough else self.level
        size = 1 << (len(plain) - 1).bit_length()
        compressor = _kept(level, size) if level <= LIGHT else _compressor(level, size)
        return compressor.compress(plain)

    def decode(self, data: bytes | memoryview, count: int, alphabet: int) -> np.ndarray:
        check_alphabet(self, alphabet, count)
        size = count * symbol_dtype(alphabet).itemsize
        if size == 0:
            return symbols_of_bytes(data, 0, alphabet)
        return symbols_of_bytes(decompress(data, size), count, alphabet)


def _compressor(level: int, size: int) -> zstandard.ZstdCompressor:
    """For up to `size` bytes, a power of two: Zstandard asks no more than that of a size."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level, source_size=size, write_content_size=False, format=zstandard.FORMAT_ZSTD1_MAGICLESS
    )
    return zstandard.ZstdCompressor(compression_params=parameters)


class _Kept(threading.local):
    """The light compressors of each thread: they take longer to make than to use."""

    def __init__(self) -> None:
        self.compressors: dict[tuple[int, int], zstandard.ZstdCompressor] = {}

    def __call__(self, level: int, size: int) -> zstandard.ZstdCompressor:
        if (level, size) not in self.compressors:
            self.compressors[level, size] = _compressor(level, size)
        return self.compressors[level, size]


_kept = _Kept()


def decompress(data: bytes | memoryview, size: int) -> bytes:
    """One frame of exactly `size` bytes; never allocates more than that, whatever the frame claims."""
    try:
        claimed = zstandard.get_frame_parameters(data, format=zstandard.FORMAT_ZSTD1_MAGICLESS).content_size
        if claimed not in (size, zstandard.CONTENTSIZE_UNKNOWN):
            raise CorruptError(f"a Zstandard frame that claims {claimed} bytes, not {size}")
        decompressor = zstandard.ZstdDecompressor(format=zstandard.FORMAT_ZSTD1_MAGICLESS)
        plain = decompressor.decompress(data, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CorruptError(f"not a sound Zstandard frame of {size} bytes: {error}") from error
    if len(plain) < size:
        raise TruncatedError(f"a Zstandard frame of {len(plain)} bytes, not {size}")
    return plain
