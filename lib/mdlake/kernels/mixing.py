"""Adaptive contexts, mixed: each decision of a symbol's tree is predicted by several contexts at once.

Every context keeps a counter for every decision it has met (lines of a hash table: a tag and the SLOTS - 1 forks of a
group). The predictions are mixed in the logistic domain by weights that learn; how often a context has seen the
decision chooses which weight it gets. Two mixers, chosen by the fork and by how much the two last contexts know, are
averaged, and a last table corrects what they get wrong. Mahoney, "Adaptive weighing of context models" (2005) and the
paq8 family; all in integers, so every machine computes the same. FORMAT.md, "mixed", has the arithmetic.

    counter   bits 0-9: how often seen; bits 10-31: the probability of a 1, in 1 / 2**22
    stretch   ln(p / (1 - p)), in 1 / 256
    weight    in 1 / 2**16
"""

import numpy as np
from numba import int64, njit, uint32, uint64

from mdlake.kernels.code_tree import SLOTS
from mdlake.kernels.range_coder import code_bit, finish, first_code

COMPILED_IN = "da016088dc367598"

FRESH = 1 << 31
SEEN = (1 << 10) - 1
FARTHEST = 3071  # stretch
KNOWLEDGE = 8
SETS = 1024
APM_STEPS = 33
APM_WIDTH = 2 * (FARTHEST + 1) // (APM_STEPS - 1)
PREVIOUS = 2  # sources before the parents: the previous symbol of the stream, and the one before


@njit(inline="always")
def context_hash(context, sources, shifts, row):
    """One context's hash: its number, and the codes of its sources, each less its lowest bits."""
    x = uint32(context * 0x3D4D51CB + 0x1B873593)
    for m in range(sources.size):
        if sources[m] < 0:
            break
        x = uint32((x ^ (row[sources[m]] >> uint32(shifts[m]))) * uint32(0x9E3779B1))
        x = uint32(x ^ (x >> uint32(15)))
    return x


@njit(inline="always")
def find_line(lines, mask, hash_, group):
    """The line of a context in a group of forks: found, or made in place of the less used of two."""
    x = uint32(uint32(hash_ + uint32(group) * uint32(0x85EBCA6B)) * uint32(0xC2B2AE35))
    x = uint32(x ^ (x >> uint32(16)))
    tag = uint32(uint32(x * uint32(0x2545F491)) | uint32(1))
    first = int64(x) & mask
    if lines[first, 0] == tag:
        return first
    second = first ^ 1
    if lines[second, 0] == tag:
        return second
    if lines[first, 0] and (lines[first, 1] & uint32(SEEN)) > (lines[second, 1] & uint32(SEEN)):
        first = second
    lines[first, 0] = tag
    for slot in range(1, SLOTS):
        lines[first, slot] = uint32(FRESH)
    return first


@njit(cache=True, nogil=True)
def code_symbols(
    decoding, symbols, parents, sources, shifts, splits, nexts, groups, slots, limit,
    stretch, squash, knowledge, rates, lines, by_fork, by_knowledge, corrections, coming, going,
):  # fmt: skip
    """Writes the stream of the symbols into `going`, or fills them from the stream `coming`.

    Returns the size of the stream; when decoding, how many bytes are settled, and `going` gets what the encoder would
    end with after them, behind their number.
    """
    contexts = sources.shape[0]
    mask = int64(lines.shape[0] - 1)
    row = np.zeros(PREVIOUS + parents.shape[1], np.uint32)
    hashes = np.zeros(contexts, np.uint32)
    found = np.zeros(contexts, np.int64)
    says = np.zeros(contexts, np.int32)
    knows = np.zeros(contexts, np.int32)
    visits = np.zeros(by_fork.shape[0], np.int32)
    low, high = uint64(0), uint64(0xFFFFFFFFFFFFFFFF)
    code, position = first_code(decoding, coming)
    for i in range(symbols.size):
        for j in range(parents.shape[1]):
            row[PREVIOUS + j] = parents[i, j]
        for k in range(contexts):
            hashes[k] = context_hash(k, sources[k], shifts[k], row)
        symbol = int64(symbols[i])
        fork, group = int64(0), int64(-1)
        while fork >= 0:
            if groups[fork] != group:
                group = groups[fork]
                for k in range(contexts):
                    found[k] = find_line(lines, mask, hashes[k], group)
            slot, chosen = slots[fork], min(fork, by_fork.shape[0] - 1)
            first, second = int64(0), int64(0)
            for k in range(contexts):
                counter = lines[found[k], slot]
                knows[k] = knowledge[counter & uint32(SEEN)]
                says[k] = stretch[counter >> uint32(16)]
            other = knows[contexts - 1] * KNOWLEDGE + knows[max(contexts - 2, 0)]
            for k in range(contexts):
                first += int64(by_fork[chosen, k, knows[k]]) * says[k]
                second += int64(by_knowledge[other, k, knows[k]]) * says[k]
            first = min(max(first >> 16, -FARTHEST), FARTHEST)
            second = min(max(second >> 16, -FARTHEST), FARTHEST)
            place = ((first + second) >> 1) + FARTHEST + 1
            step, part = place // APM_WIDTH, place % APM_WIDTH
            corrected = corrections[chosen, step] * (APM_WIDTH - part) + corrections[chosen, step + 1] * part
            probability = (int64(squash[place]) + corrected // APM_WIDTH) >> 1
            bit, low, high, code, position = code_bit(
                decoding, int64(symbol >= splits[fork]), probability, low, high, code, position, coming, going
            )
            truth = bit * ((1 << 16) - 1)
            corrections[chosen, step] += (truth - corrections[chosen, step]) * (APM_WIDTH - part) // (APM_WIDTH * 48)
            corrections[chosen, step + 1] += (truth - corrections[chosen, step + 1]) * part // (APM_WIDTH * 48)
            visits[chosen] += 1
            error = (truth - int64(squash[first + FARTHEST + 1])) * (14 * (1 + 1024 // (visits[chosen] + 64)))
            other_error = (truth - int64(squash[second + FARTHEST + 1])) * 14
            for k in range(contexts):
                by_fork[chosen, k, knows[k]] += (says[k] * error) >> 18
                by_knowledge[other, k, knows[k]] += (says[k] * other_error) >> 18
                counter = lines[found[k], slot]
                seen = counter & uint32(SEEN)
                estimate = int64(counter >> uint32(10))
                estimate += ((bit * ((1 << 22) - 1) - estimate) * rates[seen]) >> 16
                lines[found[k], slot] = uint32(uint32(estimate) << uint32(10)) | min(seen + uint32(1), uint32(limit))
            fork = nexts[fork, bit]
        symbols[i] = ~fork
        row[1] = row[0]
        row[0] = uint32(~fork + 1)
    if decoding:
        going[0] = finish(low, high, going, 1) - 1
        return position - 8
    return finish(low, high, going, position)
