"""FORMAT.md, Text mixed: strings as bits, each predicted by histories of contexts and a match."""

from __future__ import annotations

from collections import defaultdict
from functools import cache

from .binary import Interval
from .mixed import STRETCH, held, squash
from .reader import U32, Place, Values, check

ONES = 2**22 - 1


def h(x: int, v: int) -> int:
    y = (x ^ v) * 0x9E3779B1 & U32
    return y ^ y >> 15


# Histories: (zeros, ones, last).

History = tuple[int, int, int]


def allowed(zeros: int, ones: int) -> bool:
    few, many = sorted((zeros, ones))
    return few <= 5 and many <= (20, 48, 15, 8, 6, 5)[few]


HISTORIES: list[History] = sorted(
    (
        (zeros, ones, last)
        for zeros in range(49)
        for ones in range(49)
        if allowed(zeros, ones)
        for last in range(2 if min(zeros, ones) and zeros + ones <= 17 else 1)
    ),
    key=lambda history: (history[0] + history[1], history[1], history[2]),
)
NUMBER = {history: number for number, history in enumerate(HISTORIES)}


@cache
def after(number: int, bit: int) -> int:
    """The number of the history after a bit."""
    counts = list(HISTORIES[number][:2])
    many = 0 if counts[0] >= counts[1] else 1
    counts[bit] += 1
    counts[1 - bit] = sum(counts[1 - bit] >= step for step in (1, 2, 3, 4, 5, 7, 8))
    while not allowed(*counts):
        few = counts[1 - many]
        if few < 2:
            counts[many] -= 1
        else:
            counts[many] = (counts[many] * (few - 1) + few // 2) // few
            counts[1 - many] -= 1
    told = min(counts) > 0 and sum(counts) <= 17
    return NUMBER[counts[0], counts[1], bit if told else 0]


class Meaning:
    """What a history, or a match, is worth: the probability of a 1."""

    __slots__ = ("p", "s")

    def __init__(self, p: int) -> None:
        self.p, self.s = p, 0

    def says(self) -> int:
        return STRETCH[16 * (self.p >> 10) + 8]

    def learn(self, bit: int, limit: int) -> None:
        self.p += ((ONES * bit - self.p) >> 7) * (2**17 // (2 * self.s + 3)) >> 9
        self.p %= 2**22
        self.s = min(self.s + 1, limit)


def meaning_of(history: int) -> Meaning:
    zeros, ones, _ = HISTORIES[history]
    return Meaning((2 * ones + 1) * ONES // (2 * (zeros + ones + 1)))


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

    def expected(self, node: int, bits: int) -> int:
        """The next bit of the byte at m, after as many bits of it."""
        return self.text[self.m] >> (7 - bits) & 1

    def meaning(self, expected: int) -> Meaning:
        first = 2**22 // (self.level + 2)
        return self.meanings.setdefault((self.level, expected), Meaning(ONES - first if expected else first))


class TextMixed:
    """The state of the predictor."""

    def __init__(self, size: int, contexts: list[list[int]], limit: int) -> None:
        self.contexts, self.limit = contexts, limit
        self.groups = 1 << min(max((size * len(contexts) // 2).bit_length(), 8), 22) - 3
        self.lines: defaultdict[tuple[int, int], bytearray] = defaultdict(lambda: bytearray(16))
        self.meanings: list[dict[int, Meaning]] = [{} for _ in contexts]
        inputs = len(contexts) + 2
        self.by_p: defaultdict[int, list[int]] = defaultdict(lambda: [19660] * (inputs - 1) + [0])
        self.others: defaultdict[tuple[int, ...], list[int]] = defaultdict(lambda: [0] * inputs)
        self.corrections: defaultdict[tuple[int, int], list[int]] = defaultdict(lambda: [0] * 25)
        self.end = Meaning(1 << 21)

    def enter(self, hashes: list[int], p: int) -> list[bytearray]:
        """The lines of a nibble."""
        return [self.line(x, p) for x in hashes]

    def line(self, x: int, p: int) -> bytearray:
        g = x * 0xC2B2AE35 & U32
        group = (g ^ g >> 16) % self.groups
        q = (x + p * 0x85EBCA6B) * 0x2545F491 & U32
        tag, i = (q >> 21) % 256, q >> 29
        lines = [self.lines[group, i], self.lines[group, i ^ 1], self.lines[group, i ^ 2]]
        for line in lines:
            if line[0] == tag:
                return line
        taken = min(lines, key=lambda line: line[1])
        taken[:] = bytes([tag]) + bytes(15)
        return taken

    def byte(self, interval: Interval, sources: Sources, codes: list[int], match: Match) -> int:
        values = [*sources.values(), *codes]
        hashes = []
        for k, context in enumerate(self.contexts):
            x = (k + 1) * 0x3D4D51CB & U32
            for source in context:
                x = h(x, values[source])
            hashes.append(x)
        p, m, lines = 1, 1, []
        for bits in range(8):
            if bits % 4 == 0:
                lines, m = self.enter(hashes, p), 1
            bit = self.bit(interval, lines, m, p, sources, match, bits)
            p, m = 2 * p + bit, 2 * m + bit
        return p - 256

    def bit(
        self,
        interval: Interval,
        lines: list[bytearray],
        m: int,
        p: int,
        sources: Sources,
        match: Match,
        bits: int,
    ) -> int:
        meanings: list[Meaning | None] = []
        histories = [line[m] for line in lines]
        for known, line in zip(self.meanings, lines, strict=True):
            if line[m] not in known:
                known[line[m]] = meaning_of(line[m])
            meanings.append(known[line[m]])
        expected = match.expected(p, bits) if match.on else 0
        meanings.append(match.meaning(expected) if match.on else None)
        says = [*(meaning.says() if meaning else 0 for meaning in meanings), 256]
        level = 1 + (match.level >> 1) if match.on else 0
        b1, b2 = sources.bytes[:2]
        sets = [
            self.by_p[p],
            self.others[1, b1],
            self.others[2, b2],
            self.others[3, level, min(sources.place, 15)],
        ]
        z = held(sum(say * weight for weights in sets for say, weight in zip(says, weights, strict=True)) >> 16)
        a, r = divmod(z + 3072, 256)
        c = self.corrections[b1, p]
        bit = interval.bit(
            min(max(squash(z) + (3 * (c[a] * (256 - r) + c[a + 1] * r) >> 16), 1), 65535),
        )

        nearest = a + (r >= 128)
        c[nearest] += ONES * bit - 64 * squash(min(256 * nearest - 3072, 3071)) - c[nearest] >> 7
        e = 2 * (65535 * bit - squash(z)) >> 4
        for weights in sets:
            for k, say in enumerate(says):
                weights[k] += say * e + 8192 >> 14
        for meaning in meanings:
            if meaning:
                meaning.learn(bit, self.limit)
        for line, history in zip(lines, histories, strict=True):
            line[m] = after(history, bit)
        match.on = match.on and (bit == expected or bits == 7)
        return bit

    def ends(self, interval: Interval) -> int:
        bit = interval.bit(min(max(self.end.p >> 6, 1), 65535))
        self.end.learn(bit, 1023)
        return bit


def text_mixed(place: Place) -> Values:
    reader = place.reader
    terminator, limit = reader.u8(), reader.varint(1023)
    contexts = [[reader.varint() for _ in range(reader.varint())] for _ in range(reader.varint())]
    payload = reader.counted()
    check(payload[0] == (len(payload) - 1) % 128, "size")
    interval, model = Interval(payload[1:]), TextMixed(place.text + place.count, contexts, limit)
    sources, match = Sources(terminator), Match(place.text + place.count)
    parents = range(max((source - 12 for context in contexts for source in context), default=0))
    beside, values = [place.codes(parent) for parent in parents], []
    for i in range(place.count):
        value = bytearray()
        while True:
            byte = model.byte(interval, sources, [codes[i] for codes in beside], match)
            sources.add(byte)
            match.add(byte, sources.values())
            if byte == terminator and model.ends(interval):
                break
            value.append(byte)
        sources.end()
        values.append(bytes(value))
    interval.end()
    return values
