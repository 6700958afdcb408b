"""FORMAT.md, Text mixed: strings as bits, each predicted by histories of contexts and a match."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from .binary import Interval
from .histories import ONES, Meaning, after, meaning_of
from .mixed import held, squash
from .reader import U32, Place, Values, check
from .text_sources import Match, Sources, h

Weights = list[int]


@dataclass
class Decision:
    """A bit to come: the bits of the byte before it, the lines of its nibble and its node in them."""

    p: int
    m: int
    lines: list[bytearray]
    histories: list[int]
    meanings: list[Meaning | None]  # of the contexts, then of the match

    @property
    def says(self) -> list[int]:
        return [*(meaning.says() if meaning else 0 for meaning in self.meanings), 256]


class TextMixed:
    """The state of the predictor."""

    def __init__(self, size: int, contexts: list[list[int]], limit: int) -> None:
        self.contexts, self.limit = contexts, limit
        self.groups = 1 << min(max((size * len(contexts) // 2).bit_length(), 8), 22) - 3
        self.lines: defaultdict[tuple[int, int], bytearray] = defaultdict(lambda: bytearray(16))
        self.meanings: list[dict[int, Meaning]] = [{} for _ in contexts]
        inputs = len(contexts) + 2
        self.by_p: defaultdict[int, Weights] = defaultdict(lambda: [19660] * (inputs - 1) + [0])
        self.others: defaultdict[tuple[int, ...], Weights] = defaultdict(lambda: [0] * inputs)
        self.corrections: defaultdict[tuple[int, int], list[int]] = defaultdict(lambda: [0] * 25)
        self.end = Meaning(1 << 21)

    def line(self, x: int, p: int) -> bytearray:
        """That of a context for a nibble."""
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
        hashes = [context_hash(k, [values[source] for source in context]) for k, context in enumerate(self.contexts)]
        p, m, lines = 1, 1, []
        for place in range(8):
            if place % 4 == 0:
                lines, m = [self.line(x, p) for x in hashes], 1
            expected = match.expected(place) if match.on else 0
            bit = self.bit(interval, self.decision(p, m, lines, match, expected), sources, match)
            match.on = match.on and (bit == expected or place == 7)
            p, m = 2 * p + bit, 2 * m + bit
        return p - 256

    def decision(self, p: int, m: int, lines: list[bytearray], match: Match, expected: int) -> Decision:
        histories, meanings = [line[m] for line in lines], list[Meaning | None]()
        for known, history in zip(self.meanings, histories, strict=True):
            if history not in known:
                known[history] = meaning_of(history)
            meanings.append(known[history])
        meanings.append(match.meaning(expected) if match.on else None)
        return Decision(p, m, lines, histories, meanings)

    def bit(self, interval: Interval, decision: Decision, sources: Sources, match: Match) -> int:
        p, says, (b1, b2) = decision.p, decision.says, sources.bytes[:2]
        level = 1 + (match.level >> 1) if match.on else 0
        sets = [self.by_p[p], self.others[1, b1], self.others[2, b2], self.others[3, level, min(sources.place, 15)]]
        z = held(sum(say * weight for weights in sets for say, weight in zip(says, weights, strict=True)) >> 16)
        a, r = divmod(z + 3072, 256)
        c = self.corrections[b1, p]
        corrected = squash(z) + (3 * (c[a] * (256 - r) + c[a + 1] * r) >> 16)
        bit = interval.bit(min(max(corrected, 1), 65535))
        a += r >= 128
        c[a] += ONES * bit - 64 * squash(min(256 * a - 3072, 3071)) - c[a] >> 7
        e = 2 * (65535 * bit - squash(z)) >> 4
        for weights in sets:
            weights[:] = [weight + (say * e + 8192 >> 14) for weight, say in zip(weights, says, strict=True)]
        self.learn(decision, bit)
        return bit

    def learn(self, decision: Decision, bit: int) -> None:
        for meaning in decision.meanings:
            if meaning:
                meaning.learn(bit, self.limit)
        for line, history in zip(decision.lines, decision.histories, strict=True):
            line[decision.m] = after(history, bit)

    def ends(self, interval: Interval) -> int:
        bit = interval.bit(min(max(self.end.p >> 6, 1), 65535))
        self.end.learn(bit, 1023)
        return bit


def context_hash(number: int, values: list[int]) -> int:
    x = (number + 1) * 0x3D4D51CB & U32
    for value in values:
        x = h(x, value)
    return x


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
            check(len(match.text) < place.text + place.count, "more text than there is")
            sources.add(byte)
            match.add(byte, sources.values())
            if byte == terminator and model.ends(interval):
                break
            value.append(byte)
        sources.end()
        values.append(bytes(value))
    interval.end()
    return values
