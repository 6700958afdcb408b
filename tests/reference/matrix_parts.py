"""FORMAT.md, Matrices: its numbers, its counters and how they are mixed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from enum import IntEnum

from .binary import Interval
from .mixed import SQUASH, STRETCH, held

CONSTANT = {
    "density": 7623,
    "density cells": 14,
    "near": 14,
    "column": 81,
    "row": 36,
    "window": 9,
    "doubt": 32,
    "alike": 14,
    "limit of rows": 34,
    "limit of magnitudes": 147,
    "kept": 1,
    "slower": 49,
    "first steps": 18,
    "trust": 20,
}
WEIGHTS = (
    [6029, 38141, 28966, 25559, 16384, -3276, 9830, 3801, 8716, 2162],
    [38797, 22937, 33882, 16384],
    [-13631, 14221, -7077, 32768, 9830, 9830, 14221],
)
PACES = 27, 40, 27
LIMITS = 840, 840, 147


class Kinds(IntEnum):
    """Of cells."""

    IMAGE, KERNEL, FLAT, BIAS = range(4)


POSITION, SIGN, SIZE = range(3)  # decisions
IMAGES = Kinds.IMAGE, Kinds.KERNEL


def lg(v: int) -> int:
    octave = v.bit_length() - 1
    return 4 * octave + ((v << 2 >> octave) & 3)


def h(v: int) -> int:
    return min(lg(v + 1) >> 1, 15)


def few(v: int) -> int:
    return v if v < 4 else 4 + sum(v > step for step in (5, 8, 14))


def sign(v: int) -> int:
    return (v > 0) - (v < 0)


def share(a: int, b: int, p: int, s: int) -> int:
    return min(max(((16 * a + s) << 16) // (16 * b + (s << 16) // p), 8), 65528)


def ratio(a: int, b: int, c: int, d: int, e: int) -> int:
    one, other = (16 * a + e) * (d + 1), 16 * (c + 1) * b + e * (d + 1)
    return min(max(lg(one) - lg(other) + 1 >> 1, -7), 7) + 7


def alike_odds(agreed: int, shared: int) -> int:
    return STRETCH[share(agreed, shared, 1 << 15, CONSTANT["alike"])] if shared else 0


class Counter:
    """The probability of a 1 in 1 / 2^22, and how often it was seen."""

    def __init__(self, p: int = 1 << 21, seen: int = 0) -> None:
        self.p, self.seen = p, seen

    def stretch(self) -> int:
        return STRETCH[self.p >> 6]

    def learn(self, bit: int, limit: int, said: int = 1 << 15) -> None:
        p = self.p if self.seen else said << 6
        rate = 655360 // (10 * self.seen + CONSTANT["first steps"])
        self.p = p + (((2**22 - 1) * bit - p) * rate >> 16)
        self.seen = min(self.seen + 1, limit)


class Mixer:
    """The state of the predictor."""

    def __init__(self, interval: Interval) -> None:
        self.interval = interval
        self.counters: defaultdict[Hashable, Counter] = defaultdict(Counter)
        self.counters["dead"] = Counter(1 << 14, 1)
        self.weights: dict[tuple[int, ...], list[int]] = {}
        self.visits: defaultdict[Hashable, int] = defaultdict(int)

    def forget(self) -> None:
        """A matrix ends."""
        for name, counter in self.counters.items():
            if isinstance(name, tuple) and name[0] == "root":
                counter.seen = min(counter.seen, CONSTANT["kept"])

    def alone(self, name: Hashable, limit: int) -> int:
        counter = self.counters[name]
        bit = self.interval.bit(min(max(counter.p >> 6, 2), 65534))
        counter.learn(bit, limit)
        return bit

    def decide(self, what: int, one: int, other: int, base: int, said: list[int], contexts: list[tuple]) -> int:
        """A decision of inputs that are numbers, then those that are counters."""
        counters = [self.counters[what, k, context] for k, context in enumerate(contexts)]
        inputs = [*said]
        for counter in counters:
            trust = 2560 * counter.seen // (10 * counter.seen + CONSTANT["trust"])
            inputs.append((counter.stretch() - base) * trust >> 8)
        first = self.weights.setdefault((what, 0, one), [*WEIGHTS[what]])
        second = self.weights.setdefault((what, 1, other), [0] * len(inputs))
        total = sum((a + b) * x for a, b, x in zip(first, second, inputs, strict=True))
        p = SQUASH[held(base + (total >> 16)) + 3072]
        bit = self.interval.bit(p)
        self.visits[what, one] += 1
        slower = CONSTANT["slower"]
        pace = PACES[what] * (16 + 16 * slower // ((self.visits[what, one] >> 4) + slower)) >> 4
        for k, x in enumerate(inputs):
            step = x * (65535 * bit - p) * pace >> 20
            first[k] += step
            second[k] += step
        for counter in counters:
            counter.learn(bit, LIMITS[what], p)
        return bit
