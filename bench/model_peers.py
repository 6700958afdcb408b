"""What others store a network in: given weights by name, bytes, and the weights that come back.

Those that quantise do so in several ways; the bench takes the smallest that keeps the accuracy on the validation split.
"""

from __future__ import annotations

import contextlib
import heapq
import importlib
import io
import sys
import tempfile
import types
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from unittest.mock import MagicMock

import numpy as np
import zstandard

Weights = Mapping[str, np.ndarray]
_NNC_QP = (-38, -32, -28, -26, -24, -22, -20, -18, -16, -14, -12, -10, -8)


@dataclass(frozen=True)
class Packed:
    """What a peer made: how it was set, bytes of everything it needs, the weights as they come back, float32."""

    how: str
    bytes: int
    weights: dict[str, np.ndarray]


def zstd(weights: Weights) -> Iterator[Packed]:
    """float32, zstd -19."""
    data = b"".join(np.ascontiguousarray(values).tobytes() for values in weights.values())
    yield Packed("fp32", len(_squeezed(data)), dict(weights))


def bfloat16_zstd(weights: Weights) -> Iterator[Packed]:
    """bfloat16, rounded to nearest even, zstd -19."""
    bits = {name: _bfloat16(values) for name, values in weights.items()}
    data = b"".join(values.tobytes() for values in bits.values())
    back = {name: (values.astype(np.uint32) << 16).view(np.float32) for name, values in bits.items()}
    yield Packed("bf16", len(_squeezed(data)), back)


def linear_zstd(weights: Weights) -> Iterator[Packed]:
    """Symmetric integers with a scale for each tensor, rounded to nearest, zstd -19; vectors as float16."""
    for bits in (8, 6, 5, 4, 3, 2):
        size, back = 0, {}
        for name, values in weights.items():
            if values.ndim < 2:
                back[name] = values.astype(np.float16).astype(np.float32)
                size += 2 * values.size
                continue
            top = 2 ** (bits - 1) - 1
            scale = np.float32(np.abs(values).max(initial=0) / top or 1)
            levels = np.clip(np.rint(values / scale), -top, top).astype(np.int8)
            back[name] = levels.astype(np.float32) * scale
            size += 4 + len(_squeezed(levels.tobytes()))
        yield Packed(f"int{bits}", size, back)


def nncodec(weights: Weights) -> Iterator[Packed]:
    """ISO/IEC 15938-17 by nncodec, over its step sizes."""
    codec = _import_nncodec()
    for step in _NNC_QP:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            given = {name: np.ascontiguousarray(values, np.float32) for name, values in weights.items()}
            data = codec.encode(given, args={"qp": step, "verbose": False, "results": folder})
            back = codec.decode(data)
        yield Packed(f"qp {step}", len(data), {name: np.asarray(back[name], np.float32) for name in weights})


def deep_compression(weights: Weights) -> Iterator[Packed]:
    """The storage of Deep Compression for a pruned network with shared values: Huffman codes of values and of gaps.

    Gaps of 8 bits in convolutions, of 5 elsewhere, a zero put in where one is longer; float32 codebooks; a byte for
    each entry of a code's table.
    """
    bits = 0
    for values in weights.values():
        most = (1 << (8 if values.ndim == 4 else 5)) - 1
        flat = values.reshape(-1)
        places = np.flatnonzero(flat)
        book, index = np.unique(flat[places], return_inverse=True)
        gaps, kept = [], []
        for gap, which in zip((np.diff(places, prepend=-1) - 1).tolist(), (index + 1).tolist(), strict=True):
            while gap > most:
                gaps.append(most)
                kept.append(0)
                gap -= most + 1
            gaps.append(gap)
            kept.append(which)
        bits += _huffman_bits(kept) + _huffman_bits(gaps) + 32 * len(book) + 8 * (len(set(kept)) + len(set(gaps)))
    yield Packed("", -(-bits // 8), dict(weights))


DENSE: dict[str, Callable[[Weights], Iterator[Packed]]] = {
    "zstd-19": zstd,
    "bf16 + zstd-19": bfloat16_zstd,
    "linear + zstd-19": linear_zstd,
    "nncodec": nncodec,
}
SPARSE: dict[str, Callable[[Weights], Iterator[Packed]]] = {
    "zstd-19": zstd,
    "nncodec": nncodec,
    "Deep Compression storage": deep_compression,
}


def missing(name: str) -> str | None:
    """Why a peer cannot be measured here."""
    return "nncodec is not installed" if name == "nncodec" and find_spec("nncodec") is None else None


def _squeezed(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=19).compress(data)


def _bfloat16(values: np.ndarray) -> np.ndarray:
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _huffman_bits(symbols: list[int]) -> int:
    """Bits of a Huffman code of these, without its table."""
    heap = list(Counter(symbols).values())
    heapq.heapify(heap)
    if len(heap) == 1:
        return heap[0]
    bits = 0
    while len(heap) > 1:
        both = heapq.heappop(heap) + heapq.heappop(heap)
        bits += both
        heapq.heappush(heap, both)
    return bits


def _import_nncodec() -> types.ModuleType:
    """nncodec imports packages for data sets and models that are not used here; where one is not, a mock stands in."""
    while True:
        try:
            return importlib.import_module("nncodec.nn")
        except ImportError as error:
            lacking = error.name or ""
            if not lacking or lacking.startswith("nncodec") or isinstance(sys.modules.get(lacking), MagicMock):
                raise
            sys.modules[lacking] = MagicMock()
            for name in [name for name in sys.modules if name.startswith("nncodec")]:
                del sys.modules[name]
