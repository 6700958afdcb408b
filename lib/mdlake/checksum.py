"""CRC-32 (IEEE, as zlib computes it), of much data at the speed of memory."""

from __future__ import annotations

import zlib

import numpy as np

from mdlake.kernels import checksum as kernel

LEAST = 1 << 16
_ALL = 0xFFFFFFFF


def crc32(data: bytes | bytearray | memoryview, before: int = 0) -> int:
    """The checksum of `data`; `before` is that of what lies before it, as in `zlib.crc32`."""
    if len(data) < LEAST:
        return zlib.crc32(data, before)
    whole = np.frombuffer(data, np.uint8)
    ahead = -whole.ctypes.data % 8
    before = zlib.crc32(whole[:ahead].data, before)
    words = whole[ahead : ahead + (whole.size - ahead) // 8 * 8].view(np.uint64)
    words.flags.writeable = False
    window = np.empty(kernel.WINDOW, np.uint64)
    kernel.fold(words, np.uint64(before ^ _ALL), window)
    found = zlib.crc32(window.data, _ALL)
    return zlib.crc32(whole[ahead + words.nbytes :].data, found)
