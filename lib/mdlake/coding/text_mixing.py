"""The text mixing coder: strings, byte by byte, under several contexts at once, with the binary range coder behind.

A context is some sources: the bytes before, the word and the words before it, the place in the string, the string
before it, and codes of other columns in the same row. The model starts knowing nothing and is stored nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mdlake.coding.mixing import logistic_tables, rates
from mdlake.coding.stream_end import ENDING, check_ending, mark, marked_stream
from mdlake.errors import CorruptError, TruncatedError
from mdlake.kernels import text_mixing as kernel
from mdlake.streams import Strings

Context = tuple[int, ...]
"""Sources: 0 the previous byte, 1 the two before, 2 three, 3 four, 4 the fifth, 5 the fifth and sixth; 6 the word so
far, 7 the word before it, 8 the one before that; 9 the place in the string; 10 and 11 the bytes of the string before
that stand in this byte's place and behind it; 12 all of the string so far; from 13 on the parents."""

MAX_CONTEXTS = kernel.MAX_CONTEXTS
MAX_SOURCES = 4
MAX_TEXT = (1 << 31) - 2
"""Bytes and strings together, at most: places are kept in 32 bits."""
PARENTS = kernel.PARENTS
PARTS = 4
_MOST_LINES = 22
"""Binary logarithm of the most lines of 16 bytes that histories take."""
_MOST_HEADS = 19


@dataclass(frozen=True)
class TextMixing:
    """The model's shape. `terminator`: the byte that ends a string; best one that none holds."""

    contexts: tuple[Context, ...]
    terminator: int
    limit: int = 1023

    def encode(self, strings: Strings, parents: NDArray[np.uint32]) -> bytes | None:
        """The stream of the strings, None if it would be longer than they are.

        Args:
            parents: uint32 [n, parent columns], the codes known beside each string.
        """
        data, _ = self._encoded(strings, parents)
        return None if data is None else bytes([mark(len(data))]) + data.tobytes()

    def costs(self, strings: Strings, parents: NDArray[np.uint32]) -> NDArray[np.float64] | None:
        """Bytes that each quarter of the strings takes per byte of theirs and terminator; None as in `encode`."""
        data, marks = self._encoded(strings, parents)
        if data is None:
            return None
        last = -(-np.arange(1, PARTS + 1) * len(strings) // PARTS) - 1
        last[-1] += 1
        sizes = np.diff(strings.offsets[last] + last, prepend=0)
        return np.diff(marks, prepend=0)[:PARTS] / np.maximum(sizes, 1)

    def decode(self, data: bytes | memoryview, count: int, size: int, parents: NDArray[np.uint32]) -> Strings:
        """`count` strings of `size` bytes together.

        Raises:
            CorruptError, TruncatedError: the stream is not one of such strings.
        """
        if len(data) == 0:
            raise TruncatedError(f"no bytes for {count} strings")
        stream = marked_stream(data, data[0])
        text, ends = np.zeros(size + count, np.uint8), np.full(count, -1, np.int64)
        ending = np.empty(ENDING, np.uint8)
        done, _ = self._run(True, text, ends, parents, stream, ending)
        if done == kernel.TOO_LONG:
            raise CorruptError(f"the mixed text is not {count} strings of {size} bytes")
        if done == kernel.TOO_SHORT:
            raise TruncatedError(f"{stream.size} bytes are not all of a mixed text of {count} strings")
        check_ending(stream, done, ending)
        offsets = np.zeros(count + 1, np.int64)
        offsets[1:] = ends - np.arange(count)
        return Strings(offsets, text[_within(text.size, ends)])

    def _encoded(self, strings: Strings, parents: NDArray[np.uint32]) -> tuple[NDArray[np.uint8] | None, np.ndarray]:
        ends = strings.offsets[1:] + np.arange(len(strings))
        text = np.full(len(strings.data) + len(strings), self.terminator, np.uint8)
        text[_within(text.size, ends)] = strings.data
        data = np.empty(text.size + text.size // 8 + kernel.MOST_A_BYTE + 16, np.uint8)
        size, marks = self._run(False, text, ends, parents, np.zeros(0, np.uint8), data)
        return (None if size < 0 else data[:size]), marks

    def _run(
        self,
        decoding: bool,
        text: NDArray[np.uint8],
        ends: NDArray[np.int64],
        parents: NDArray[np.uint32],
        coming: NDArray[np.uint8],
        going: NDArray[np.uint8],
    ) -> tuple[int, NDArray[np.int64]]:
        """What the kernel returns, and how far it was at the end of each quarter of the strings."""
        contexts = np.full((len(self.contexts), MAX_SOURCES), -1, np.int64)
        for k, context in enumerate(self.contexts):
            contexts[k, : len(context)] = context
        squash, stretch = _tables()
        following, meanings = histories()
        bits, count = text.size.bit_length(), len(self.contexts)
        lines = _aligned(kernel.SLOTS << min(max((text.size * count // 2).bit_length(), 8), _MOST_LINES))
        heads = np.zeros(1 << min(max(bits, 4), _MOST_HEADS), np.int32)
        corrections = np.zeros((1 << 16, kernel.APM_STEPS), np.int32)
        marks = np.zeros(PARTS + 1, np.int64)
        size = kernel.code_text(
            decoding, text, ends, self.terminator, parents, contexts, np.int32(self.limit), stretch, squash,
            rates().astype(np.int32), words(), following, lines, np.vstack([*[meanings] * count, _match_meanings()]),
            _weights(count), corrections, heads, marks, coming, going,
        )  # fmt: skip
        return size, marks


def rarest(data: NDArray[np.uint8]) -> int:
    """The byte that occurs least, the smallest of them."""
    return int(np.argmin(np.bincount(data, minlength=256)))


def _within(size: int, ends: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which bytes of a text are in its strings."""
    within = np.ones(size, bool)
    within[ends] = False
    return within


def _aligned(size: int) -> NDArray[np.uint8]:
    """Zeros that begin where a line of the processor's cache does."""
    room = np.zeros(size + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size]


@cache
def _tables() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """squash as in `mixing`; stretch of probabilities in 1 / 4096, each by its middle."""
    squash, stretch = logistic_tables()
    return squash.astype(np.int32), np.ascontiguousarray(stretch[8::16])


def _weights(contexts: int) -> NDArray[np.int32]:
    """The weights at first: of the first sets, by the bits so far, 0.3 for each context and the match; else nothing."""
    weights = np.zeros((kernel.SETS, 8 * -(-(contexts + 2) // 8)), np.int32)
    weights[:256, : contexts + 1] = (3 << 16) // 10
    return weights


@cache
def words() -> NDArray[np.uint8]:
    """[256]: for letters (in lower case), digits and bytes from 128 on their number, 0 for what parts words."""
    part = [byte if byte >= 128 or chr(byte).isalnum() else 0 for byte in range(256)]
    return np.array([byte | 32 if 65 <= byte <= 90 else byte for byte in part], np.uint8)


def _match_meanings() -> NDArray[np.uint32]:
    """[2 levels]: what it means that a match of each level expects a 0, or a 1."""
    wrong = (1 << 22) // np.arange(2, kernel.LEVELS + 2)
    return np.resize(np.stack([wrong, (1 << 22) - 1 - wrong], 1).ravel() << 10, 256).astype(np.uint32)


_MOST = 20, 48, 15, 8, 6, 5
"""How many of one bit a history can hold beside so many of the other."""


@cache
def histories() -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    """following: [2, 256], the history after a 0 or a 1; meanings: [256], what each means at first.

    As in Mahoney's ZPAQ (the specification, section 3.2): how many zeros and ones, where they are few also which was
    last; of the others some are forgotten.
    """
    numbers: dict[tuple[int, int, int], int] = {}
    for total in range(_MOST[1] + 2):
        for ones in range(total + 1):
            for last in range(_kinds(total - ones, ones)):
                numbers[total - ones, ones, last] = len(numbers)
    following, meanings = np.zeros((2, 256), np.uint8), np.full(256, 1 << 31, np.uint32)
    for (zeros, ones, _), number in numbers.items():
        for bit in (0, 1):
            after = _after(zeros, ones, bit)
            following[bit, number] = numbers[*after, bit if _kinds(*after) == 2 else 0]
        meanings[number] = ((2 * ones + 1) * ((1 << 22) - 1) // (2 * (zeros + ones + 1))) << 10
    return following, meanings


def _kinds(zeros: int, ones: int) -> int:
    """How many histories have such numbers: two where the last bit counts."""
    few, many = sorted((zeros, ones))
    if few >= len(_MOST) or many > _MOST[few]:
        return 0
    return 2 if few and zeros + ones <= 17 else 1


def _after(zeros: int, ones: int, bit: int) -> tuple[int, int]:
    """The numbers after another bit: the nearest that a history can hold."""
    if zeros < ones:
        ones, zeros = _after(ones, zeros, 1 - bit)
        return zeros, ones
    zeros, ones = (_forgetting(zeros), ones + 1) if bit else (zeros + 1, _forgetting(ones))
    while not _kinds(zeros, ones):
        if ones < 2:
            zeros -= 1
        else:
            zeros, ones = (zeros * (ones - 1) + ones // 2) // ones, ones - 1
    return zeros, ones


def _forgetting(number: int) -> int:
    return sum(number >= step for step in (1, 2, 3, 4, 5, 7, 8))
