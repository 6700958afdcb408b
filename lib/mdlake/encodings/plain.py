"""The values as they are, and one value for all: the two simplest leaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mdlake.encodings.known import Known
from mdlake.encodings.protocol import Encoding, Facts, Kind, Reader, Shape, Stream, Strings, Writer
from mdlake.errors import CorruptError
from mdlake.streams import bits_of, plain_bytes, plain_size


@dataclass(frozen=True)
class Plain(Encoding):
    """Numeric values little-endian, nothing else; strings as u32 lengths, then data."""

    id: ClassVar[int] = 0
    name: ClassVar[str] = "plain"
    data: bytes | memoryview = b""

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[Plain]:
        yield cls()

    def estimate(self, facts: Facts) -> float:
        return plain_size(facts.stream) * facts.scale

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[Plain, tuple[Stream, ...]] | None:
        return Plain(plain_bytes(stream)), ()

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        return ()

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        return from_plain_bytes(self.data, shape)

    def write(self, writer: Writer) -> None:
        writer.raw(self.data)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Plain:
        return cls(reader.raw(shape.plain))

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Constant(Encoding):
    """Every value is the same one."""

    id: ClassVar[int] = 1
    name: ClassVar[str] = "constant"
    value: bytes = b""

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[Constant]:
        if facts.runs == 1:
            yield cls()

    def estimate(self, facts: Facts) -> float:
        return 4 if not isinstance(facts.stream, Strings) else 4 + len(facts.stream.data) / facts.count

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[Constant, tuple[Stream, ...]] | None:
        if len(stream) == 0:
            return None
        if isinstance(stream, Strings):
            first = stream.data[: stream.offsets[1]]
            whole = bool(np.all(stream.lengths == len(first))) and bool(
                np.array_equal(stream.data.reshape(len(stream), -1)[1:], stream.data.reshape(len(stream), -1)[:-1])
            )
            return (Constant(first.tobytes()), ()) if whole else None
        bits = bits_of(stream)
        return (Constant(_shortest(bits[0])), ()) if bool(np.all(bits == bits[0])) else None

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        return ()

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        if shape.kind is Kind.STRINGS:
            if len(self.value) * shape.count != shape.text:
                raise CorruptError(f"{shape.count} strings of {len(self.value)} bytes are not {shape.text} bytes")
            data = np.tile(np.frombuffer(self.value, np.uint8), shape.count)
            return Strings(np.arange(shape.count + 1, dtype=np.int64) * len(self.value), data)
        bits = np.full(shape.count, int.from_bytes(self.value, "little"), shape.kind.unsigned.dtype)
        return bits.view(shape.kind.dtype)

    def write(self, writer: Writer) -> None:
        writer.counted(self.value)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Constant:
        value = bytes(reader.counted())
        if shape.kind is not Kind.STRINGS and len(value) > shape.kind.width:
            raise CorruptError(f"a constant has {len(value)} bytes, its kind {shape.kind.name} only {shape.kind.width}")
        return cls(value)

    def __str__(self) -> str:
        return self.name


def from_plain_bytes(data: bytes | memoryview, shape: Shape) -> Stream:
    """The inverse of `streams.plain_bytes`.

    Raises:
        CorruptError: there are more or fewer bytes than the shape takes.
    """
    if len(data) != shape.plain:
        raise CorruptError(
            f"{shape.count} values of kind {shape.kind.name} take {shape.plain} bytes, found {len(data)}"
        )
    if shape.kind is not Kind.STRINGS:
        return np.frombuffer(data, shape.kind.dtype)
    lengths, text = np.frombuffer(data, "<u4", shape.count), np.frombuffer(data, np.uint8, offset=4 * shape.count)
    return strings_of(lengths, text)


def strings_of(lengths: np.ndarray, text: np.ndarray) -> Strings:
    """Strings from their lengths and their bytes.

    Raises:
        CorruptError: the lengths do not add up to the bytes.
    """
    total = float(lengths.sum(dtype=np.float64))
    if total != len(text):
        raise CorruptError(f"string lengths add up to {total:.0f} bytes, found {len(text)}")
    return Strings.of(lengths, text)


def _shortest(bits: np.unsignedinteger) -> bytes:
    return int(bits).to_bytes(bits.itemsize, "little").rstrip(b"\0")
