"""The mixing coder: symbols under several contexts at once, with the binary range coder behind.

A context is some sources, each a code per value: the symbols before (source 0 the previous, 1 the one before that) and
what is known beside the stream (source 2 the first parent column, and so on). A shift leaves out a code's lowest bits,
which makes neighbours one. The model starts knowing nothing and is stored nowhere; only its tree is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from mdlake.coding.stream_end import ENDING, check_ending, mark, marked_stream
from mdlake.errors import CorruptError, TruncatedError
from mdlake.kernels import code_tree, mixing

Source = tuple[int, int]
"""Number and shift."""
Context = tuple[Source, ...]

PREVIOUS = mixing.PREVIOUS
MAX_CONTEXTS = 24
MAX_SOURCES = 4
MAX_ALPHABET = 1 << 16
MOST_LINES = 22
"""Binary logarithm of the most lines of 32 bytes that the counters take."""


@dataclass(frozen=True)
class Mixing:
    """The model's shape. `limit`: how many sightings a counter remembers at most, 1023 for what never changes."""

    contexts: tuple[Context, ...]
    limit: int = 255

    def encode(self, symbols: np.ndarray, depths: np.ndarray, parents: np.ndarray) -> bytes:
        """The stream of `symbols` (uint16, all of them in the tree of these leaf `depths`).

        Args:
            parents: uint32 [n, parent columns], the codes known beside each symbol.
        """
        tree = _Tree.of_depths(depths)
        data = np.empty(2 * int(depths[symbols].sum(dtype=np.int64)) + 16, np.uint8)
        size = self._run(False, symbols.copy(), parents, tree, np.zeros(0, np.uint8), data)
        return bytes([mark(size)]) + data[:size].tobytes()

    def decode(self, data: bytes | memoryview, count: int, depths: np.ndarray, parents: np.ndarray) -> np.ndarray:
        """`count` symbols, uint16.

        Raises:
            CorruptError, TruncatedError: the depths are no tree's, or the stream is not one of `count` symbols.
        """
        tree = _Tree.of_depths(depths)
        if len(data) == 0:
            raise TruncatedError(f"no bytes for {count} symbols")
        stream = marked_stream(data, data[0])
        symbols, ending = np.zeros(count, np.uint16), np.empty(ENDING, np.uint8)
        check_ending(stream, self._run(True, symbols, parents, tree, stream, ending), ending)
        return symbols

    def _run(
        self,
        decoding: bool,
        symbols: np.ndarray,
        parents: np.ndarray,
        tree: _Tree,
        coming: np.ndarray,
        going: np.ndarray,
    ) -> int:
        sources = np.full((len(self.contexts), MAX_SOURCES), -1, np.int64)
        shifts = np.zeros((len(self.contexts), MAX_SOURCES), np.int64)
        for k, context in enumerate(self.contexts):
            for m, (source, shift) in enumerate(context):
                sources[k, m], shifts[k, m] = source, shift
        weight = (1 << 17) // (len(self.contexts) + 1)
        by_fork = np.full((min(len(tree.splits), mixing.SETS), len(self.contexts), mixing.KNOWLEDGE), weight, np.int32)
        by_fork[:, :, 0] = 0
        by_knowledge = np.full((mixing.KNOWLEDGE**2, len(self.contexts), mixing.KNOWLEDGE), weight, np.int32)
        squash, stretch = logistic_tables()
        steps = np.arange(mixing.APM_STEPS) * mixing.APM_WIDTH
        corrections = np.tile(squash[np.minimum(steps, len(squash) - 1)].astype(np.int64), (len(by_fork), 1))
        lines = np.zeros((1 << line_bits(len(symbols), len(self.contexts)), code_tree.SLOTS), np.uint32)
        return mixing.code_symbols(
            decoding, symbols, parents, sources, shifts, tree.splits, tree.nexts, tree.groups, tree.slots, self.limit,
            stretch, squash, knowledge_levels(), rates(), lines, by_fork, by_knowledge, corrections, coming, going,
        )  # fmt: skip


@dataclass(frozen=True)
class _Tree:
    splits: np.ndarray
    nexts: np.ndarray
    groups: np.ndarray
    slots: np.ndarray

    @staticmethod
    def of_depths(depths: np.ndarray) -> _Tree:
        forks = max(int(np.count_nonzero(depths)) - 1, 1)
        tree = _Tree(
            np.zeros(forks, np.int64),
            np.zeros((forks, 2), np.int64),
            np.zeros(forks, np.int64),
            np.zeros(forks, np.int64),
        )
        if code_tree.build(depths, tree.splits, tree.nexts, tree.groups, tree.slots) < 1:
            raise CorruptError("the depths of a mixed stream's leaves are those of no tree")
        return tree


def leaf_depths(counts: np.ndarray) -> np.ndarray:
    """Depths (uint8) of the leaves of a tree that suits these counts (int64); 0 for symbols that do not occur."""
    depths = np.zeros(len(counts), np.uint8)
    if counts.any():
        code_tree.weigh(counts, depths)
    return depths


def symbols_of(stream: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(stream, np.uint16)


def line_bits(count: int, contexts: int) -> int:
    return min(max((count * contexts // 2).bit_length(), 8), MOST_LINES)


@cache
def logistic_tables() -> tuple[np.ndarray, np.ndarray]:
    """squash: [6144] from stretch + 3072 to probability in 1 / 2**16; stretch: [65536], its inverse.

    Made with whole numbers of 128 bits only: no machine's logarithm is asked.
    """
    half, one = mixing.FARTHEST + 1, 1 << 128
    step, term = 0, one  # exp(-1/256) by its series
    for n in range(1, 40):
        step += term if n % 2 else -term
        term //= 256 * n
    squash = np.empty(2 * half, np.int64)
    power = one
    for x in range(half + 1):
        upper = min(max((2 * (one << 16) // (one + power) + 1) // 2, 2), 65534)
        if x < half:
            squash[half + x] = upper
        if x:
            squash[half - x] = 65536 - upper
        power = power * step // one
    stretch = np.searchsorted(squash, np.arange(65536), side="right") - 1 - half
    return squash, np.clip(stretch, -mixing.FARTHEST, mixing.FARTHEST).astype(np.int32)


@cache
def knowledge_levels() -> np.ndarray:
    """How much a counter knows that has seen so many decisions: 0 to 7."""
    return np.searchsorted([1, 2, 3, 5, 9, 25, 100], np.arange(mixing.SEEN + 1), side="right").astype(np.int32)


@cache
def rates() -> np.ndarray:
    """The step of a counter after n sightings, in 1 / 2**16: 1 / (n + 1.5)."""
    return (1 << 17) // (2 * np.arange(mixing.SEEN + 1) + 3)
