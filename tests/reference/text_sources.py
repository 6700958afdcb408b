"""FORMAT.md, Text mixed, Sources and Match: what is known where a byte begins."""

from __future__ import annotations

from .histories import ONES, Meaning
from .reader import U32


def h(x: int, v: int) -> int:
    y = (x ^ v) * 0x9E3779B1 & U32
    return y ^ y >> 15


class Sources:
    """What contexts are made of: the bytes before, words, the string above."""

    def __init__(self, terminator: int) -> None:
        self.terminator = terminator
        self.bytes = [0] * 6  # b1 to b6
        self.above: bytes | None = None
        self.current = bytearray()
        self.start()

    def start(self) -> None:
        self.words, self.place, self.whole = [0, 0, 0], 0, 0
        self.parts, self.pointer = 0, 0

    def values(self) -> list[int]:
        b, above = self.bytes, [0, 0]
        if self.above is not None:
            above = [byte + 1 for byte in self.above[self.pointer : self.pointer + 2]]
            above += [0] * (2 - len(above))
        joined = [sum(b[k] << 8 * k for k in range(size)) for size in (1, 2, 3, 4)]
        return [*joined, b[4], b[4] + (b[5] << 8), *self.words, min(self.place, 255), *above, self.whole]

    def add(self, byte: int) -> None:
        self.bytes = [byte, *self.bytes[:5]]
        self.current.append(byte)
        self.place += 1
        self.whole = h(self.whole, byte + 1)
        self.pointer += 1
        if parts_words(byte):
            self.part()
        else:
            self.words[0] = h(self.words[0], byte + 32 if 65 <= byte <= 90 else byte)

    def part(self) -> None:
        if self.words[0]:
            self.words = [0, *self.words[:2]]
        self.parts += 1
        if self.parts < 64 and self.above is not None:
            behind = [place + 1 for place, byte in enumerate(self.above) if parts_words(byte)]
            self.pointer = behind[self.parts - 1] if len(behind) > self.parts else len(self.above)

    def end(self) -> None:
        self.above = bytes(self.current)
        self.current.clear()
        self.start()


def parts_words(byte: int) -> bool:
    return byte < 128 and not chr(byte).isalnum()


class Match:
    """Where the bytes before here stood last."""

    def __init__(self, size: int) -> None:
        self.text = bytearray()
        self.heads: dict[int, int] = {}
        self.size = 1 << min(max(size.bit_length(), 4), 19)
        self.on, self.m, self.length = False, 0, 0
        self.meanings: dict[tuple[int, int], Meaning] = {}

    def add(self, byte: int, sources: list[int]) -> None:
        self.text.append(byte)
        here, x = len(self.text), h(h(0, sources[3]), sources[5]) % self.size
        if self.on:
            self.m, self.length = self.m + 1, min(self.length + 1, 255)
        else:
            self.m = self.heads.get(x, 0)
            self.length = self.equal_before(here) if self.m else 0
            self.on = self.length >= 5
        self.heads[x] = here

    def equal_before(self, here: int) -> int:
        length = 0
        while length < min(47, self.m) and self.text[self.m - 1 - length] == self.text[here - 1 - length]:
            length += 1
        return length

    @property
    def level(self) -> int:
        return self.length if self.length < 16 else min(12 + (self.length >> 2), 23)

    def expected(self, bits: int) -> int:
        """The next bit of the byte at m, after as many bits of it."""
        return self.text[self.m] >> (7 - bits) & 1

    def meaning(self, expected: int) -> Meaning:
        first = 2**22 // (self.level + 2)
        return self.meanings.setdefault((self.level, expected), Meaning(ONES - first if expected else first))
