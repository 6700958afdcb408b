"""Order-preserving binary trees over an alphabet: how a symbol becomes yes-or-no decisions.

A tree is known by the depths of its leaves, in order. Forks are numbered breadth first. For cache's sake the forks come
in groups of up to three levels: within a group the top fork has slot 1, the forks below slot s have 2 s and 2 s + 1.
"""

import numpy as np
from numba import njit

LEVELS = 3
SLOTS = 1 << LEVELS
DEEPEST = 40


@njit(cache=True, nogil=True)
def weigh(counts, depths):
    """Fills the depths of the leaves: every fork parts its symbols into halves as equal in weight as can be.

    Symbols that do not occur are left out of the tree, with depth 0.
    """
    present = np.flatnonzero(counts)
    sums = np.zeros(present.size + 1, np.int64)
    for i in range(present.size):
        sums[i + 1] = sums[i] + counts[present[i]]
    stack = np.empty((2 * DEEPEST + 2, 3), np.int64)
    top = 0
    stack[0, 0], stack[0, 1], stack[0, 2] = 0, present.size, 0
    while top >= 0:
        low, high, depth = stack[top, 0], stack[top, 1], stack[top, 2]
        top -= 1
        if high - low == 1:
            depths[present[low]] = depth
            continue
        middle = low + (high - low) // 2
        if depth < DEEPEST // 2:  # below, halves by number: no tree is deeper than DEEPEST
            twice = sums[low] + sums[high]
            first, last = low + 1, high - 1
            while first < last:
                at = (first + last) // 2
                if 2 * sums[at] < twice:
                    first = at + 1
                else:
                    last = at
            middle = first
            if middle - 1 > low and twice - 2 * sums[middle - 1] <= 2 * sums[middle] - twice:
                middle -= 1
        stack[top + 1, 0], stack[top + 1, 1], stack[top + 1, 2] = middle, high, depth + 1
        stack[top + 2, 0], stack[top + 2, 1], stack[top + 2, 2] = low, middle, depth + 1
        top += 2


@njit(cache=True, nogil=True)
def build(depths, splits, nexts, groups, slots):
    """Fills the forks of the tree with these leaf depths; returns their number, or -1 if there is no such tree.

    splits[f] is the first symbol of fork f's upper half, nexts[f] the forks below it or, negative, ~symbol.
    """
    present = np.flatnonzero(depths)
    if present.size < 2:
        return 0 if present.size == 0 else -1
    paths = np.empty(present.size, np.uint64)  # each leaf's place, in 1 / 2**DEEPEST
    path = np.uint64(0)
    whole = np.uint64(1) << np.uint64(DEEPEST)
    for i in range(present.size):
        depth = depths[present[i]]
        if depth > DEEPEST:
            return -1
        step = np.uint64(1) << np.uint64(DEEPEST - depth)
        if path & (step - np.uint64(1)) or path + step > whole:
            return -1
        paths[i] = path
        path += step
    if path != whole:
        return -1
    forks = present.size - 1
    lows, highs, levels = np.empty(forks, np.int64), np.empty(forks, np.int64), np.empty(forks, np.int64)
    lows[0], highs[0], levels[0], groups[0], slots[0] = 0, present.size, 0, 0, 1
    made, used = 1, 1
    for fork in range(forks):
        low, high, level = lows[fork], highs[fork], levels[fork]
        bit = np.uint64(1) << np.uint64(DEEPEST - 1 - level)
        first, last = low, high  # the first leaf whose path goes up at this level
        while first < last:
            at = (first + last) // 2
            if paths[at] & bit:
                last = at
            else:
                first = at + 1
        splits[fork] = present[first]
        for side in range(2):
            start, stop = (first, high) if side else (low, first)
            if stop - start == 1:
                nexts[fork, side] = ~present[start]
                continue
            lows[made], highs[made], levels[made] = start, stop, level + 1
            slot = 2 * slots[fork] + side
            if slot < SLOTS:
                groups[made], slots[made] = groups[fork], slot
            else:
                groups[made], slots[made] = used, 1
                used += 1
            nexts[fork, side] = made
            made += 1
    return forks
