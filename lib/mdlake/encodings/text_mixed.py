"""Mixed text: strings byte by byte under adaptive contexts, by `mdlake.coding.text_mixing`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mdlake.coding.logarithm import log2, power
from mdlake.coding.text_mixing import MAX_CONTEXTS, MAX_SOURCES, MAX_TEXT, PARENTS, Context, TextMixing, rarest
from mdlake.encodings.known import Known, codes_beside
from mdlake.encodings.protocol import Encoding, Facts, Kind, Reader, Shape, Stream, Strings, Writer
from mdlake.errors import CorruptError

ALONE: tuple[Context, ...] = ((), (0,), (1,), (2,), (3,), (3, 5), (0, 6), (0, 6, 7, 8), (0, 10, 11), (9,))
"""Orders 0 to 4, and 6; the word, and with two before it; what stood here in the string before; the place."""
MOST_PARENTS = 2
LIMITS = 1, 1023
_TRIAL = 16384


@dataclass(frozen=True)
class MixedText(Encoding):
    """A leaf. `terminator`: the byte that ends a string; where it stands in one, a decision says so."""

    id: ClassVar[int] = 22
    name: ClassVar[str] = "text_mixed"
    contexts: tuple[Context, ...] = ALONE
    terminator: int = 0
    limit: int = LIMITS[-1]
    data: bytes | memoryview = b""

    @classmethod
    def propose(cls, facts: Facts) -> Iterator[MixedText]:
        """For strings that are not mostly repeated: those are a dictionary's."""
        if isinstance(facts.stream, Strings) and facts.count:
            text = len(facts.stream.data)
            if text >= 3 * facts.count and facts.distinct > 0.4 * facts.count:
                yield cls((*ALONE, *_beside(facts.known)))

    @property
    def needs(self) -> tuple[int, ...]:
        sources = {source for context in self.contexts for source in context}
        return tuple(sorted(source - PARENTS for source in sources if source >= PARENTS))

    def estimate(self, facts: Facts) -> float:
        """By a trial on a little of the sample: what its later half takes, and how much less than before."""
        strings = _start(facts.stream)
        parents = codes_beside(facts.known, facts.count)[: len(strings)]
        costs = TextMixing(self.contexts, rarest(strings.data), self.limit).costs(strings, parents)
        assert isinstance(facts.stream, Strings)
        full = (len(facts.stream.data) + facts.count) * facts.scale
        if costs is None:
            return full
        late = float(costs[2:].mean())
        doublings = float(log2(max(full / max(len(strings.data) + len(strings), 1), 1)))
        learning = _learning(float(costs[1]), late)
        whole = power(learning, int(doublings)) * (1 - doublings % 1 * (1 - learning))
        return full * late * whole + 4 * len(self.contexts)

    def encode(self, stream: Stream, known: Known | None = None) -> tuple[MixedText, tuple[Stream, ...]] | None:
        if not isinstance(stream, Strings) or not 0 < len(stream) <= MAX_TEXT - len(stream.data):
            return None
        terminator = rarest(stream.data)
        data = TextMixing(self.contexts, terminator, self.limit).encode(stream, codes_beside(known, len(stream)))
        return None if data is None else (MixedText(self.contexts, terminator, self.limit, data), ())

    def children(self, shape: Shape) -> tuple[Shape, ...]:
        return ()

    def decode(self, children: tuple[Stream, ...], shape: Shape, known: Known | None = None) -> Stream:
        codes = codes_beside(known, shape.count, self.needs)
        coder = TextMixing(self.contexts, self.terminator, self.limit)
        return coder.decode(self.data, shape.count, shape.text, codes)

    def write(self, writer: Writer) -> None:
        writer.byte(self.terminator)
        writer.varint(self.limit)
        writer.varint(len(self.contexts))
        for context in self.contexts:
            writer.varint(len(context))
            for source in context:
                writer.varint(source)
        writer.counted(self.data)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> MixedText:
        if shape.kind is not Kind.STRINGS or not 0 < shape.count <= MAX_TEXT - shape.text:
            raise CorruptError(f"mixed text cannot be {shape.count} values of kind {shape.kind.name}")
        terminator, limit, count = reader.byte(), reader.varint(), reader.varint()
        if not LIMITS[0] <= limit <= LIMITS[1] or not 1 <= count <= MAX_CONTEXTS:
            raise CorruptError(f"mixed text has {count} contexts, limit {limit}")
        contexts = tuple(_read_context(reader) for _ in range(count))
        return cls(contexts, terminator, limit, reader.counted())

    def __str__(self) -> str:
        return f"{self.name}[{len(self.contexts)}]"


def _read_context(reader: Reader) -> Context:
    count = reader.varint()
    if count > MAX_SOURCES:
        raise CorruptError(f"a context of {count} sources has more than {MAX_SOURCES}")
    return tuple(reader.varint() for _ in range(count))


def _beside(known: Known | None) -> tuple[Context, ...]:
    """Contexts with the parents that tell most: each with all of the string so far, and with the byte before."""
    used: list[int] = []
    for parent in (
        [source - 2 for context in known.hints.contexts for source, _ in context if source >= 2] if known else ()
    ):
        if parent not in used and len(used) < MOST_PARENTS:
            used.append(parent)
    return tuple(context for parent in used for context in ((12, PARENTS + parent), (0, 9, PARENTS + parent)))


def _start(strings: Stream) -> Strings:
    """The first strings, together no longer than a trial may take."""
    assert isinstance(strings, Strings)
    count = int(np.searchsorted(strings.offsets[1:] + np.arange(1, len(strings) + 1), _TRIAL))
    first = strings.slice(0, max(count, 1))
    return first if len(first.data) <= _TRIAL else Strings.of(np.array([_TRIAL]), first.data[:_TRIAL])


def _learning(early: float, late: float) -> float:
    """By what factor costs fall when the text becomes twice as long: nearer to 1 than they just did."""
    return min(max((1 + late / max(early, 1e-9)) / 2, 0.85), 1.0)
