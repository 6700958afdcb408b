"""The arrays that encodings work on: plain numpy vectors, and strings as offsets into bytes.

A `Stream` has a `Kind` (what one value is) and a length. Two streams are the same when their bits are:
floats are compared as bit patterns, so NaN payloads and -0.0 count.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from mdlake.errors import InvalidArgumentError


class Kind(IntEnum):
    """What one value of a stream is; the numbers are part of the block format."""

    U8 = 0
    U16 = 1
    U32 = 2
    U64 = 3
    I8 = 4
    I16 = 5
    I32 = 6
    I64 = 7
    F16 = 8
    F32 = 9
    F64 = 10
    STRINGS = 11

    @property
    def dtype(self) -> np.dtype:
        """The little-endian numpy dtype; strings have none."""
        return _DTYPES[self]

    @property
    def width(self) -> int:
        """Bytes per value; for strings, the bytes of one offset."""
        return _WIDTHS[self]

    @property
    def is_unsigned(self) -> bool:
        return self <= Kind.U64

    @property
    def is_integer(self) -> bool:
        return self <= Kind.I64

    @property
    def is_float(self) -> bool:
        return Kind.F16 <= self <= Kind.F64

    @property
    def unsigned(self) -> Kind:
        """The unsigned kind of the same width."""
        return UNSIGNED[self.width]


_DTYPES = {
    kind: np.dtype(code)
    for kind, code in zip(
        Kind, ["<u1", "<u2", "<u4", "<u8", "<i1", "<i2", "<i4", "<i8", "<f2", "<f4", "<f8"], strict=False
    )
}
_WIDTHS = (*(dtype.itemsize for dtype in _DTYPES.values()), 8)
_KINDS = {dtype: kind for kind, dtype in _DTYPES.items()}
UNSIGNED = {1: Kind.U8, 2: Kind.U16, 4: Kind.U32, 8: Kind.U64}


@dataclass(frozen=True, eq=False)
class Strings:
    """Byte strings: value i is `data[offsets[i]:offsets[i + 1]]`.

    `offsets` is int64 of shape [n + 1], starts at 0 and never falls; `data` is uint8 of shape [offsets[-1]].
    """

    offsets: NDArray[np.int64]
    data: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def nbytes(self) -> int:
        return self.offsets.nbytes + self.data.nbytes

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.offsets)

    @classmethod
    def of(cls, lengths: NDArray[np.integer], data: NDArray[np.uint8]) -> Strings:
        offsets = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return cls(offsets, data)

    def slice(self, start: int, stop: int) -> Strings:
        offsets = self.offsets[start : stop + 1]
        return Strings(offsets - offsets[0], self.data[offsets[0] : offsets[-1]])


Stream = np.ndarray | Strings


def kind_of(stream: Stream) -> Kind:
    """The kind of a stream.

    Raises:
        InvalidArgumentError: the dtype is none of the eleven numeric kinds.
    """
    if isinstance(stream, Strings):
        return Kind.STRINGS
    kind = _KINDS.get(stream.dtype)
    if kind is None:
        raise InvalidArgumentError(f"no block can hold values of dtype {stream.dtype}; cast them to int, uint or float")
    return kind


def numbers(stream: Stream) -> np.ndarray:
    """The stream as the numpy array it must be here: the caller has checked that it holds no strings."""
    assert isinstance(stream, np.ndarray)
    return stream


def smallest_unsigned(largest: int) -> Kind:
    """The narrowest unsigned kind that holds `largest`."""
    for width, kind in UNSIGNED.items():
        if largest < 1 << (8 * width):
            return kind
    raise InvalidArgumentError(f"{largest} needs more than 64 bits")


def bits_of(values: np.ndarray) -> np.ndarray:
    """The bit patterns of numeric values, as unsigned integers of the same width (a view)."""
    return values.view(kind_of(values).unsigned.dtype)


def as_int64(values: np.ndarray) -> NDArray[np.int64]:
    """Integers of every width as 64 bits; unsigned ones of 64 bits keep their bits."""
    return values.view(np.int64) if values.dtype == np.uint64 else values.astype(np.int64)


def from_int64(values: NDArray[np.int64], kind: Kind) -> np.ndarray:
    """The inverse of `as_int64`, modulo the kind's width."""
    return values.view(np.uint64).astype(kind.unsigned.dtype).view(kind.dtype)


def plain_bytes(stream: Stream) -> bytes:
    """The bytes a stream has without any encoding: values little-endian; strings as u32 lengths, then data."""
    if isinstance(stream, Strings):
        return stream.lengths.astype("<u4").tobytes() + stream.data.tobytes()
    return stream.tobytes()


def plain_size(stream: Stream) -> int:
    """`len(plain_bytes(stream))`, without making them."""
    return 4 * len(stream) + len(stream.data) if isinstance(stream, Strings) else stream.nbytes


def same(left: Stream, right: Stream) -> bool:
    """Whether two streams are equal bit for bit."""
    if kind_of(left) != kind_of(right) or len(left) != len(right):
        return False
    if isinstance(left, Strings) and isinstance(right, Strings):
        return np.array_equal(left.offsets, right.offsets) and np.array_equal(left.data, right.data)
    assert isinstance(left, np.ndarray) and isinstance(right, np.ndarray)
    return np.array_equal(bits_of(left), bits_of(right))
