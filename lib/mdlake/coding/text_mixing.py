"""The text mixing coder: strings, byte by byte, under several contexts at once, with the binary range coder behind.

A context is some sources: the bytes before, the word and the words before it, the place in the string, the string
before it, and codes of other columns in the same row. The model starts knowing nothing and is stored nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from mdlake.coding.mixing import logistic_tables, rates
from mdlake.errors import CorruptError, TruncatedError
from mdlake.kernels import text_mixing as kernel
from mdlake.streams import Strings

Context = tuple[int, ...]
"""Sources, by number."""

MAX_CONTEXTS = kernel.MAX_CONTEXTS
MAX_SOURCES = 4
PARENTS = kernel.SOURCES
MOST_LINES = 22
_MARK = 128
_GROUPS = 13
_LEVELS = 24


@dataclass(frozen=True)
class TextMixing:
    contexts: tuple[Context, ...]
    terminator: int
    limit: int = 255

    def encode(self, strings: Strings, parents: np.ndarray) -> bytes | None:
        ends = strings.offsets[1:] + np.arange(len(strings))
        text = np.full(len(strings.data) + len(strings), self.terminator, np.uint8)
        within = np.ones(len(text), bool)
        within[ends] = False
        text[within] = strings.data
        data = np.empty(len(text) + len(text) // 8 + 1024, np.uint8)
        size = self._run(False, text, ends, parents, np.zeros(0, np.uint8), data)
        return None if size < 0 else bytes([size % _MARK]) + data[:size].tobytes()

    def decode(self, data: bytes | memoryview, count: int, size: int, parents: np.ndarray) -> Strings:
        if len(data) == 0:
            raise TruncatedError(f"no bytes for {count} strings")
        stream = np.frombuffer(data, np.uint8, offset=1)
        if data[0] != stream.size % _MARK:
            raise CorruptError(f"{stream.size} bytes of a mixed text, not {data[0]} mod {_MARK}")
        text, ends, ending = np.zeros(size + count, np.uint8), np.full(count, -1, np.int64), np.empty(9, np.uint8)
        done = self._run(True, text, ends, parents, stream, ending)
        if done < 0:
            raise CorruptError(f"the mixed text is not {count} strings of {size} bytes")
        end = ending[1 : 1 + ending[0]]
        if stream.size < done + end.size:
            raise TruncatedError(f"{stream.size} bytes of a mixed text of {done + end.size}")
        if stream.size > done + end.size or (stream[done:] != end).any():
            raise CorruptError("the mixed text does not end as it should")
        within = np.ones(len(text), bool)
        within[ends] = False
        offsets = np.zeros(count + 1, np.int64)
        offsets[1:] = ends - np.arange(count)
        return Strings(offsets, text[within])

    def _run(self, decoding, text, ends, parents, coming, going) -> int:
        n = len(self.contexts)
        contexts = np.full((n, MAX_SOURCES), -1, np.int64)
        for k, context in enumerate(self.contexts):
            contexts[k, : len(context)] = context
        squash, stretch = logistic_tables()
        stretch = stretch[8::16]
        following, start = histories()
        bits = min(max(int(len(text) * n).bit_length(), 8), MOST_LINES)
        lines = np.zeros(kernel.SLOTS << bits, np.uint8)
        meanings = np.tile(start, (n, 1))
        weight = (1 << 16) * 3 // 10
        by_byte = np.zeros((256, kernel.INPUTS), np.int32)
        by_byte[:, : n + 1] = weight
        by_match = np.zeros((_GROUPS * 8, kernel.INPUTS), np.int32)
        by_match[:, : n + 1] = weight
        steps = np.arange(kernel.APM_STEPS) * kernel.APM_WIDTH
        curve = squash[np.minimum(steps, len(squash) - 1)].astype(np.int32) << 6
        corrections = np.tile(curve, (_GROUPS * 256, 1))
        pairs = np.tile(curve, (1 << min(max(len(text).bit_length() - 2, 4), 16), 1))
        heads = np.zeros(1 << min(max(len(text).bit_length(), 4), 20), np.int32)
        match_meanings = np.zeros(2 * _LEVELS, np.uint32)
        for level in range(_LEVELS):
            p = (1 << 22) // (level + 2)
            match_meanings[2 * level] = p << 10
            match_meanings[2 * level + 1] = ((1 << 22) - 1 - p) << 10
        return kernel.code_text(
            decoding, text, ends, self.terminator, parents, contexts, self.limit, stretch.astype(np.int32),
            squash.astype(np.int32), rates(), words(), following, lines, meanings, match_meanings, by_byte, by_match,
            corrections, pairs, heads, coming, going,
        )  # fmt: skip


@cache
def words() -> np.ndarray:
    """uint8 [256]: for letters (in lower case), digits and bytes from 128 on a number, 0 for what parts words."""
    return np.array(
        [
            ord(chr(b).lower()) if (chr(b).isalnum() and b < 128) or (b >= 128 and False) else (b if b >= 128 else 0)
            for b in range(256)
        ],
        np.uint8,
    )


_MOST = 20, 48, 15, 8, 6, 5


def _kinds(zeros: int, ones: int) -> int:
    few, many = sorted((zeros, ones))
    if few >= len(_MOST) or many > _MOST[few]:
        return 0
    return 2 if few and zeros + ones <= 17 else 1


def _after(zeros: int, ones: int, bit: int) -> tuple[int, int]:
    if zeros < ones:
        return _after(ones, zeros, 1 - bit)[::-1]
    if bit:
        zeros, ones = _discounted(zeros), ones + 1
    else:
        zeros, ones = zeros + 1, _discounted(ones)
    while not _kinds(zeros, ones):
        if ones < 2:
            zeros -= 1
        else:
            zeros, ones = (zeros * (ones - 1) + ones // 2) // ones, ones - 1
    return zeros, ones


def _discounted(n: int) -> int:
    return sum(n >= step for step in (1, 2, 3, 4, 5, 7, 8))


@cache
def histories() -> tuple[np.ndarray, np.ndarray]:
    numbers: dict[tuple[int, int, int], int] = {}
    for total in range(64):
        for ones in range(total + 1):
            for last in range(_kinds(total - ones, ones)):
                numbers[total - ones, ones, last] = len(numbers)
    assert len(numbers) <= 256, len(numbers)
    following, start = np.zeros((256, 2), np.uint8), np.full(256, 1 << 31, np.uint32)
    for (zeros, ones, _), number in numbers.items():
        for bit in (0, 1):
            z, o = _after(zeros, ones, bit)
            following[number, bit] = numbers[z, o, bit if _kinds(z, o) == 2 else 0]
        start[number] = ((2 * ones + 1) * ((1 << 22) - 1) // (2 * (zeros + ones) + 2)) << 10
    return following, start
