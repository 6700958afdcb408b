"""The adaptive probability model: a binary tree of bit models for each context.

It starts knowing nothing and is stored nowhere; the decoder relives what the encoder learned. The arrays
it makes are what the kernels work on; the coder that uses them sees probabilities only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mdlake.kernels import adaptive_bits

NODE_BITS = 18  # at most 2**18 nodes of 8 bytes: 2 MiB, about a second-level cache


@dataclass(frozen=True)
class TreeModel:
    """`depth`: bits of a symbol. `context_shift`: the context is the previous symbol >> context_shift, so
    that `depth` means no context (order 0) and less than that order 1, as fine as memory allows."""

    depth: int
    context_shift: int

    @staticmethod
    def of_order(order: int, alphabet: int) -> TreeModel:
        depth = (alphabet - 1).bit_length()
        return TreeModel(depth, depth if order == 0 else max(0, 2 * depth - NODE_BITS))

    def nodes(self) -> np.ndarray:
        nodes = np.empty(1 << (2 * self.depth - self.context_shift), np.uint64)
        adaptive_bits.fill_fresh(nodes)
        return nodes

    @staticmethod
    def rates() -> np.ndarray:
        rates = np.empty(adaptive_bits.LIMIT + 1, np.uint32)
        adaptive_bits.fill_rates(rates)
        return rates
