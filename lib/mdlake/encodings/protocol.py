"""What an encoding is: an invertible step from one stream to simpler streams.

An encoding is a small frozen dataclass. Its fields are its stored configuration; it has a number and a name that
never change once released (`schemas/FORMAT.md`). A leaf has no children: it turns a stream into bytes.

The number and kind of each child follow from the parent's shape and the fields alone (`children`), so a decoder knows
what it will allocate before it decodes anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

import numpy as np

from mdlake.encodings.facts import Facts
from mdlake.encodings.known import Known
from mdlake.streams import Kind, Stream, Strings, kind_of, numbers
from mdlake.wire import Reader, Writer


@dataclass(frozen=True)
class Shape:
    """What a stream looks like before it is decoded: its kind, how many values it has, and bytes of string data."""

    kind: Kind
    count: int
    text: int = 0

    @classmethod
    def of(cls, stream: Stream) -> Shape:
        return cls(kind_of(stream), len(stream), len(stream.data) if isinstance(stream, Strings) else 0)

    @property
    def plain(self) -> int:
        """Bytes of the stream without any encoding, as `streams.plain_bytes` writes them."""
        return self.count * (4 if self.kind is Kind.STRINGS else self.kind.width) + self.text

    @property
    def memory(self) -> int:
        """Bytes the decoded stream takes in memory."""
        return self.count * self.kind.width + self.text


class Encoding(Protocol):
    """One step of a chain. `encode` may refine the fields from the data; what it returns decodes exactly."""

    id: ClassVar[int]
    name: ClassVar[str]
    table: ClassVar[int | None] = None
    """The child that holds distinct values, so grows with them and not with the rows; most have none."""

    packed: ClassVar[int | None] = None
    """The child that holds bits packed side by side, which hardly get fewer; most have none."""

    again: ClassVar[bool] = False
    """Whether this step may have something to do with its own children."""

    roles: ClassVar[tuple[str, ...]] = ("values",)
    """What the children are called, in order; where there are more, the last is what each of them is called."""

    repairs: ClassVar[tuple[int, ...]] = ()
    """The children that mend what the step gets wrong: where that is, and what belongs there."""

    levels: ClassVar[int] = 1
    """How much of the search's depth this step takes: those with many children leave none, those that only tell what
    numbers are take none."""

    @property
    def needs(self) -> tuple[int, ...]:
        """The parents, by their places beside the stream, without which this step cannot be undone."""
        return ()

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[Self]:
        """Configurations worth trying on a stream with these facts; none where it cannot help, or has to be named."""
        yield from ()

    def estimate(self, facts: Facts) -> float | None:
        """About how many bytes a stream with these facts will take; None where that depends on children."""
        return None

    def hopeless(self, facts: Facts, stream: Stream, limit: int) -> bool:
        """Whether the stream, of which these are facts, surely takes more than `limit` bytes, if that is soon told."""
        return False

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[Self, tuple[Stream, ...]] | None:
        """The final configuration and the child streams, or None where this stream cannot be had so.

        `known` is what the decoder will know beside the stream; most encodings have no use for it.
        """
        ...

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        """The shapes of the children of a stream of this shape.

        Raises:
            CorruptError: the fields do not fit the shape.
        """
        ...

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        """The stream back, bit for bit.

        Raises:
            CorruptError: the children do not describe a stream of this shape.
        """
        ...

    def fill(self, out: np.ndarray, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> None:
        """As `decode`, of numbers, into the memory of `out`, an array of that shape."""
        out[:] = numbers(self.decode(children, shape, known))

    def write(self, writer: Writer) -> None:
        """Appends the fields."""
        ...

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Self:
        """The fields back, checked for a stream of this shape."""
        ...

    def __str__(self) -> str:
        """How the step reads in a chain, such as `delta` or `dictionary[16]`."""
        ...

    def told(self, names: Sequence[str]) -> str:
        """How the step reads beside columns of these names: with those that it needs."""
        used = ", ".join(names[place] for place in self.needs)
        return f"{self} by {used}" if used else str(self)


__all__ = ["Encoding", "Facts", "Kind", "Known", "Reader", "Shape", "Stream", "Strings", "Writer"]
