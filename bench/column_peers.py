"""Peers that compress arrays: each column's parts coded on their own, in a file with the schema and the lengths.

A column is its validity (bits), and its values without nulls: a numpy array, or bytes and lengths for strings. Decimals
that fit are int64, as the peer's users would have them. A column of any other type is Parquet zstd-19 in the same file,
which `remarks` says. The file is as short as can be: a compressed Arrow schema and four bytes for each part.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard


@dataclass
class ColumnCodec:
    """What a peer adds: bytes of numbers and of strings; `serial` codes plain bytes."""

    remarks: list[str]

    def write(self, table: pa.Table, path: Path) -> None:
        self.remarks.clear()
        schema = zstandard.compress(table.schema.serialize().to_pybytes(), 19)
        parts = [schema, struct.pack("<Q", table.num_rows)]
        for name in table.column_names:
            parts.extend(self._column(table, name))
        with path.open("wb") as file:
            for part in parts:
                file.write(struct.pack("<I", len(part)) + part)

    def read(self, path: Path) -> pa.Table:
        data, parts, at = path.read_bytes(), [], 0
        while at < len(data):
            (length,) = struct.unpack_from("<I", data, at)
            parts.append(data[at + 4 : at + 4 + length])
            at += 4 + length
        schema = pa.ipc.read_schema(pa.py_buffer(zstandard.decompress(parts[0])))
        (rows,) = struct.unpack("<Q", parts[1])
        rest = iter(parts[2:])
        arrays = []
        for field in schema:
            validity, first, second = next(rest), next(rest), next(rest)
            if validity == b"P":
                arrays.append(pq.read_table(pa.BufferReader(first)).column(0).combine_chunks().cast(field.type))
            else:
                bits = np.frombuffer(self.bytes_back(validity), np.uint8)
                valid = np.unpackbits(bits, count=rows, bitorder="little").astype(bool) if validity else None
                arrays.append(self._array(field.type, rows, valid, first, second))
        return pa.Table.from_arrays(arrays, schema=schema)

    def _column(self, table: pa.Table, name: str) -> tuple[bytes, bytes, bytes]:
        array = table.column(name).combine_chunks()
        array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
        valid = np.asarray(array.is_valid().to_numpy(zero_copy_only=False))
        validity = self.bytes_(np.packbits(valid, bitorder="little").tobytes()) if array.null_count else b""
        kept = pa.concat_arrays([array.drop_null()])
        if pa.types.is_string(array.type):
            offsets = np.frombuffer(kept.buffers()[1], np.int32, len(kept) + 1)
            text = kept.buffers()[2].to_pybytes()[: offsets[-1]] if len(kept) else b""
            return validity, *self.strings(text, np.diff(offsets).astype(np.uint32))
        numbers = numbers_of(kept)
        if numbers is not None:
            return validity, self.numbers(numbers), b""
        self.remarks.append(f"{name} ({array.type}) as Parquet zstd-19")
        sink = pa.BufferOutputStream()
        pq.write_table(table.select([name]), sink, compression="zstd", compression_level=19)
        return b"P", sink.getvalue().to_pybytes(), b""

    def _array(self, type_: pa.DataType, rows: int, valid: np.ndarray | None, first: bytes, second: bytes) -> pa.Array:
        bits = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
        if pa.types.is_string(type_):
            text, lengths = self.strings_back(first, second)
            offsets = np.zeros(rows + 1, np.int32)
            np.cumsum(spread(lengths, valid, rows), out=offsets[1:])
            return pa.Array.from_buffers(type_, rows, [bits, pa.py_buffer(offsets), pa.py_buffer(text)])
        dtype = numpy_type(type_)
        assert dtype is not None, f"{type_} was stored as numbers"
        values = spread(self.numbers_back(first, dtype), valid, rows)
        if pa.types.is_boolean(type_):
            values = np.packbits(values, bitorder="little")
        elif pa.types.is_decimal(type_):
            values = np.stack([values, values >> 63], axis=1)  # the sign goes on in the upper half
        return pa.Array.from_buffers(type_, rows, [bits, pa.py_buffer(np.ascontiguousarray(values))])

    def bytes_(self, data: bytes) -> bytes:
        return zstandard.compress(data, 19)

    def bytes_back(self, data: bytes) -> bytes:
        return zstandard.decompress(data) if data else b""

    def numbers(self, values: np.ndarray) -> bytes:
        raise NotImplementedError

    def numbers_back(self, data: bytes, dtype: np.dtype) -> np.ndarray:
        raise NotImplementedError

    def strings(self, text: bytes, lengths: np.ndarray) -> tuple[bytes, bytes]:
        raise NotImplementedError

    def strings_back(self, first: bytes, second: bytes) -> tuple[bytes, np.ndarray]:
        raise NotImplementedError


def numpy_type(type_: pa.DataType) -> np.dtype | None:
    """The dtype that holds a type's values bit for bit, None if there is none."""
    if pa.types.is_boolean(type_):
        return np.dtype(np.uint8)
    if pa.types.is_decimal128(type_):
        return np.dtype(np.int64)
    if pa.types.is_integer(type_) or pa.types.is_floating(type_):
        return np.dtype(type_.to_pandas_dtype())
    if pa.types.is_temporal(type_) and type_.bit_width in (32, 64):
        return np.dtype(f"i{type_.bit_width // 8}")
    return None


def numbers_of(array: pa.Array) -> np.ndarray | None:
    """The values of an array without nulls, None if numpy has no such type or a decimal is too wide."""
    dtype = numpy_type(array.type)
    if dtype is None:
        return None
    if pa.types.is_boolean(array.type):
        return np.asarray(array.to_numpy(zero_copy_only=False)).astype(np.uint8)
    if not pa.types.is_decimal(array.type):
        return np.frombuffer(array.buffers()[1], dtype, len(array))
    halves = np.frombuffer(array.buffers()[1], np.int64, 2 * len(array)).reshape(-1, 2)
    fits = np.array_equal(halves[:, 1], halves[:, 0] >> 63)
    return np.ascontiguousarray(halves[:, 0]) if fits else None


def spread(values: np.ndarray, valid: np.ndarray | None, rows: int) -> np.ndarray:
    """Values at the valid rows, zeros elsewhere."""
    if valid is None:
        return values
    wide = np.zeros(rows, values.dtype)
    wide[valid] = values
    return wide
