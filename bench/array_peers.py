"""pcodec and OpenZL on the columns of a table; what surrounds the arrays is in `column_peers.py`."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from bench.column_peers import ColumnCodec
from bench.openzl_graphs import Graph, Graphs

SAMPLED_FROM, SAMPLE = 120_000, 20_000  # values; longer arrays are searched on three stretches of the sample's length


class Pcodec(ColumnCodec):
    """pcodec's highest level for numbers and lengths; Zstandard level 19 for text and validity."""

    def numbers(self, values: np.ndarray) -> bytes:
        pcodec = importlib.import_module("pcodec")
        if values.dtype == np.int8:
            values = values.astype(np.int16)
        pages = pcodec.PagingSpec.equal_pages_up_to(1 << 20)
        config = pcodec.ChunkConfig(compression_level=12, enable_8_bit=True, paging_spec=pages)
        return pcodec.standalone.simple_compress(values, config)

    def numbers_back(self, data: bytes, dtype: np.dtype) -> np.ndarray:
        values = importlib.import_module("pcodec").standalone.simple_decompress(data)
        return np.zeros(0, dtype) if values is None else values.astype(dtype, copy=False)

    def strings(self, text: bytes, lengths: np.ndarray) -> tuple[bytes, bytes]:
        return self.bytes_(text), self.numbers(lengths)

    def strings_back(self, first: bytes, second: bytes) -> tuple[bytes, np.ndarray]:
        return self.bytes_back(first), self.numbers_back(second, np.dtype(np.uint32))


class OpenZL(ColumnCodec):
    """OpenZL's graphs that fit an array, searched: all on a sample, the best three in full, the smallest kept.

    The wheel has no trainer, so the list is ours: field LZ, Zstandard and entropy coders, behind delta, zigzag, range
    packing, division, transposition, tokens and prefixes.
    """

    def bytes_(self, data: bytes) -> bytes:
        zl = importlib.import_module("openzl.ext")
        values = np.frombuffer(data, np.uint8)
        return _smallest(Graphs(zl).serial(), zl.Input(zl.Type.Serial, values))

    def bytes_back(self, data: bytes) -> bytes:
        return _decompress(data).content.as_bytes() if data else b""

    def numbers(self, values: np.ndarray) -> bytes:
        unsigned = np.ascontiguousarray(values).view(f"u{values.itemsize}")
        return _searched("numbers", unsigned, None)

    def numbers_back(self, data: bytes, dtype: np.dtype) -> np.ndarray:
        return np.frombuffer(_decompress(data).content.as_bytes(), dtype) if data else np.zeros(0, dtype)

    def strings(self, text: bytes, lengths: np.ndarray) -> tuple[bytes, bytes]:
        return _searched("strings", np.frombuffer(text, np.uint8), np.ascontiguousarray(lengths)), b""

    def strings_back(self, first: bytes, second: bytes) -> tuple[bytes, np.ndarray]:
        if not first:
            return b"", np.zeros(0, np.uint32)
        output = _decompress(first)
        return output.content.as_bytes(), np.array(output.string_lens.as_nparray(), np.uint32)


def _searched(kind: str, values: np.ndarray, lengths: np.ndarray | None) -> bytes:
    count = len(values if lengths is None else lengths)
    if count == 0:
        return b""
    zl = importlib.import_module("openzl.ext")
    left: dict[str, Graph] = getattr(Graphs(zl), kind)()
    if count > SAMPLED_FROM:
        stretches, their_lengths = _sample(values, lengths)  # named: an Input does not keep its array alive
        sizes = {name: len(data) for name, data in _each(left, _input(stretches, their_lengths, zl))}
        left = {name: left[name] for name in sorted(sizes, key=lambda name: sizes[name])[:3]}
    return _smallest(left, _input(values, lengths, zl))


def _sample(values: np.ndarray, lengths: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    count = len(values if lengths is None else lengths)
    stretches = [slice(start, start + SAMPLE) for start in (0, count // 2, count - SAMPLE)]
    if lengths is None:
        return np.concatenate([values[stretch] for stretch in stretches]), None
    ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    text = [values[ends[stretch.start] : ends[stretch.stop]] for stretch in stretches]
    return np.concatenate(text), np.concatenate([lengths[stretch] for stretch in stretches])


def _input(values: np.ndarray, lengths: np.ndarray | None, zl: Any) -> Any:
    if lengths is not None:
        return zl.Input(zl.Type.String, values, lengths)
    return zl.Input(zl.Type.Numeric, values)


def _each(graphs: dict[str, Graph], values: Any) -> list[tuple[str, bytes]]:
    """What each graph makes of the values, without those that cannot hold them."""
    zl, made = importlib.import_module("openzl.ext"), []
    for name, graph in graphs.items():
        compressor, context = zl.Compressor(), zl.CCtx()
        try:
            compressor.select_starting_graph(graph(compressor))
            context.ref_compressor(compressor)
            context.set_parameter(zl.CParam.FormatVersion, zl.MAX_FORMAT_VERSION)
            context.set_parameter(zl.CParam.CompressionLevel, 9)
            made.append((name, context.compress([values])))
        except (RuntimeError, ValueError, TypeError):
            continue
    return made


def _smallest(graphs: dict[str, Graph], values: Any) -> bytes:
    return min((data for _, data in _each(graphs, values)), key=len)


def _decompress(data: bytes) -> Any:
    return importlib.import_module("openzl.ext").DCtx().decompress(data)[0]
