"""FORMAT.md, zstd: a frame without its magic number."""

from __future__ import annotations

import zstandard

from .reader import check

MAGIC = (0xFD2FB528).to_bytes(4, "little")


def unpack(payload: bytes) -> bytes:
    frame = zstandard.ZstdDecompressor().decompressobj()
    content = frame.decompress(MAGIC + payload)
    check(frame.eof and not frame.unused_data, "not one whole frame")
    return content
