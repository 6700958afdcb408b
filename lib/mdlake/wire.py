"""Writing and reading the small numbers of a block: LEB128 varints, zigzag, counted bytes.

A `Reader` never reads past its end and never allocates more than it has: it raises instead.
"""

from __future__ import annotations

from mdlake.errors import CorruptError, TruncatedError

MAX_VARINT_BYTES = 10
_MUCH = 1 << 14


class Writer:
    """Appends to a growing byte string. Much data is not copied before the whole is: it must not change meanwhile."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._before: list[bytes | bytearray | memoryview] = []

    def byte(self, value: int) -> None:
        self._bytes.append(value)

    def varint(self, value: int) -> None:
        """An unsigned integer below 2^64, seven bits a byte, low bits first."""
        while value >= 0x80:
            self._bytes.append(value & 0x7F | 0x80)
            value >>= 7
        self._bytes.append(value)

    def zigzag(self, value: int) -> None:
        """A signed integer: 0, -1, 1, -2, ... become 0, 1, 2, 3, ..."""
        self.varint(2 * value if value >= 0 else -2 * value - 1)

    def raw(self, data: bytes | bytearray | memoryview) -> None:
        if len(data) < _MUCH:
            self._bytes += data
        else:
            self._before += [self._bytes, data]
            self._bytes = bytearray()

    def counted(self, data: bytes | bytearray | memoryview) -> None:
        """The length as a varint, then the bytes."""
        self.varint(len(data))
        self.raw(data)

    @property
    def size(self) -> int:
        return sum(map(len, self.parts()))

    def parts(self) -> tuple[bytes | bytearray | memoryview, ...]:
        """What was written, one part after the other."""
        return *self._before, self._bytes

    def getvalue(self) -> bytes:
        return b"".join(self.parts())


class Reader:
    """Reads what `Writer` wrote; every read is checked against the end."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data).cast("B")
        self._at = 0

    @property
    def remaining(self) -> int:
        return len(self._data) - self._at

    def byte(self) -> int:
        try:
            value = self._data[self._at]
        except IndexError:
            raise TruncatedError("expected one more byte, found none; fetch the whole object again") from None
        self._at += 1
        return value

    def varint(self) -> int:
        value = self.byte()
        if value < 0x80:
            return value
        value &= 0x7F
        shift = 7
        for _ in range(MAX_VARINT_BYTES - 1):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> 64:
                    raise CorruptError("a varint exceeds 64 bits; the bytes are damaged")
                return value
            shift += 7
        raise CorruptError(f"a varint is longer than {MAX_VARINT_BYTES} bytes; the bytes are damaged")

    def zigzag(self) -> int:
        value = self.varint()
        return value >> 1 if value & 1 == 0 else -(value >> 1) - 1

    def raw(self, size: int) -> memoryview:
        if size > self.remaining:
            raise TruncatedError(f"expected {size} more bytes, found {self.remaining}; fetch the whole object again")
        self._at += size
        return self._data[self._at - size : self._at]

    def counted(self) -> memoryview:
        return self.raw(self.varint())
