"""FORMAT.md, Conventions, Block and Packed integers: numbers in bytes and bits, kinds, shapes, places in a chain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

Values = list[Any]  # integers, bit patterns of floats, or bytes

U32 = 2**32 - 1


class Corrupt(Exception):
    """Not a block that FORMAT.md allows."""


class Unknown(Corrupt):
    """A number that this decoder does not know; a later FORMAT.md may."""


def check(holds: bool, what: str) -> None:
    if not holds:
        raise Corrupt(what)


class Kind(IntEnum):
    U8, U16, U32, U64, I8, I16, I32, I64, F16, F32, F64, STRINGS = range(12)

    @property
    def width(self) -> int:
        return (1, 2, 4, 8, 1, 2, 4, 8, 2, 4, 8)[self]

    @property
    def unsigned(self) -> Kind:
        return unsigned_of(self.width)

    @property
    def signed(self) -> Kind:
        return Kind(self.unsigned + 4)

    @property
    def is_float(self) -> bool:
        return Kind.F16 <= self <= Kind.F64

    def wrap(self, value: int) -> int:
        """The value modulo 2^w, as this kind writes it; floats are their bits."""
        value &= (1 << 8 * self.width) - 1
        return signed(value, 8 * self.width) if Kind.I8 <= self <= Kind.I64 else value


def unsigned_of(width: int) -> Kind:
    return Kind({1: 0, 2: 1, 4: 2, 8: 3}[width])


def narrowest(largest: int) -> Kind:
    return next(kind for kind in (Kind.U8, Kind.U16, Kind.U32, Kind.U64) if largest < 1 << 8 * kind.width)


def signed(value: int, bits: int = 64) -> int:
    """The value modulo 2^bits, in two's complement."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


class Reader:
    """Numbers one after another from bytes."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        check(self.at + count <= len(self.data), "truncated")
        self.at += count
        return self.data[self.at - count : self.at]

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)

    def end(self) -> None:
        check(self.at == len(self.data), "bytes left over")

    def u8(self) -> int:
        return self.take(1)[0]

    def word(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little")

    def varint(self, most: int = 2**64 - 1) -> int:
        value = 0
        for group in range(10):
            byte = self.u8()
            value |= (byte & 127) << 7 * group
            if byte < 128:
                check(value <= most, "varint out of range")
                return value
        raise Corrupt("varint of more than ten bytes")

    def zigzag(self) -> int:
        coded = self.varint()
        return coded >> 1 if coded % 2 == 0 else -(coded >> 1) - 1

    def counted(self) -> bytes:
        return self.take(self.varint())

    def kind(self) -> Kind:
        number = self.u8()
        check(number <= Kind.STRINGS, "unknown kind")
        return Kind(number)


class Bits:
    """Bits within bytes, from the most significant down: Huffman codes and packed integers."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> int:
        check(self.at + count <= 8 * len(self.data), "truncated")
        value = 0
        for place in range(self.at, self.at + count):
            value = 2 * value + (self.data[place // 8] >> (7 - place % 8) & 1)
        self.at += count
        return value

    def integers(self, count: int, kinds: int = 1) -> list[int]:
        """A list of packed integers."""
        means, values = [0] * kinds, []
        for place in range(count):
            mean = means[place % kinds]
            low, zeros = (mean >> 3).bit_length(), 0
            while self.take(1) == 0:
                zeros += 1
            high = 1 << zeros | self.take(zeros)
            value = (high - 1) << low | self.take(low)
            means[place % kinds] = mean + value - (mean >> 2)
            values.append(value)
        return values

    def rest(self) -> bytes:
        """What follows the padding."""
        check(self.take(-self.at % 8) == 0, "padding is not zero")
        return self.data[self.at // 8 :]


@dataclass(frozen=True)
class Parent:
    """What a parent gives for each value beside it."""

    codes: list[int]
    numbers: list[int] | None
    strings: list[bytes] | None = None


@dataclass(frozen=True)
class Place:
    """An encoding in a chain: where its fields are read, its shape, what is beside it, how children are decoded."""

    reader: Reader
    decode: Callable[[Place], Values]
    kind: Kind
    count: int
    text: int
    parents: tuple[Parent, ...]
    beside: int | None = None  # the first value of the parents that lies beside; None: none do
    depth: int = 1

    def child(self, kind: Kind, count: int, text: int = 0) -> Values:
        beside = None
        if self.beside is not None and self.count - count in (0, 1):
            beside = self.beside + self.count - count
        return self.decode(
            replace(self, kind=kind, count=count, text=text, beside=beside, depth=self.depth + 1),
        )

    def codes(self, parent: int) -> list[int]:
        return self._beside(self._parent(parent).codes)

    def numbers(self, parent: int) -> list[int]:
        numbers = self._parent(parent).numbers
        if numbers is None:
            raise Corrupt("a parent of strings has no numbers")
        return self._beside(numbers)

    def strings(self, parent: int) -> list[bytes]:
        strings = self._parent(parent).strings
        if strings is None:
            raise Corrupt("a parent of numbers has no strings")
        return self._beside(strings)

    def _parent(self, parent: int) -> Parent:
        check(self.beside is not None and parent < len(self.parents), "no such parent beside")
        return self.parents[parent]

    def _beside(self, values: Values) -> Values:
        assert self.beside is not None
        check(len(values) - self.beside == self.count, "a parent of another length")
        return values[self.beside :]
