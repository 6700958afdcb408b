"""FORMAT.md, Text mixed, Histories and Meanings: the bits that a context has seen, and what they are worth."""

from __future__ import annotations

from functools import cache

from .mixed import STRETCH

ONES = 2**22 - 1

History = tuple[int, int, int]  # zeros, ones, last


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
