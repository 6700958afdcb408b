"""The weights of a network, matrix after matrix, row after row, each as decisions: is it zero, its sign, its magnitude.

Every decision is predicted by `residual_mixing` from what its row, its column and the cells around it held so far.
Counters and weights go on from one matrix to the next. FORMAT.md, "Matrices", has the arithmetic.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import int64, njit, uint32, uint64

from mdlake.kernels.matrix_contexts import (
    ABOVE,
    ABOVE_2,
    ABOVE_LEFT,
    ABOVE_RIGHT,
    EVEN,
    LEFT,
    LEFT_2,
    LEVELS,
    alike,
    around,
    compare,
    few,
    half_octaves,
    look,
    ratio,
    window,
)  # fmt: skip
from mdlake.kernels.range_coder import code_bit, finish, first_code
from mdlake.kernels.residual_mixing import NO_COUNTER, SEEN, after, known, learn, mixed, say, share, squashed

COMPILED_IN = "b142115f6952e871"

TOO_SHORT = -1
IMAGE, KERNEL, FLAT, BIAS = range(4)  # kinds of cells
POSITION, SIGN, SIZE = range(3)  # kinds of decisions
INPUTS = 10  # at most
COUNTS = 10, 4, 7  # of inputs, for each kind of decision
SETS = 16  # of weights, at most, for each kind of decision by what chooses them
TABLE = 1 << 15
LIVE, DEAD, ROOT = range(3)  # tables of single counters; behind them one for each input
TABLES = 3 + 3 * INPUTS
NOTHING, UNKNOWN = -1, 15  # of a producer
CELLS, ONES, SUM, LAST = range(4)  # facts of a row, of a column (cells: rows) and of the matrix
J, KIND, Y, X, MADE, NEAR, TOWARDS, ROW, COLUMN, LIKE = range(10)  # facts of a cell

# Tuned to networks of the kind that is meant, as the weights in `coding.matrices`: part of the format.
DENSITY = 7623
DENSITY_CELLS = 14
NEAR_PRIOR = 14
COLUMN_PRIOR = 81
ROW_PRIOR = 36
WINDOW_PRIOR = 9
DOUBT = 32
LIKE_PRIOR = 14
RADIUS = 3
LIMIT = 840
LIMIT_SIZE = 147
LIMIT_LIVE = 34
KEPT = 1
SLOWER = 49
BESIDE = 256
PACE_POSITION, PACE_SIGN, PACE_SIZE = 27, 40, 27
FRESH = 1 << 31  # a counter
SELDOM = (1 << 24) | 1  # one that says 1 / 256, and has seen one bit


class Fixed(NamedTuple):
    stretch: np.ndarray
    squash: np.ndarray
    rates: np.ndarray
    trust: np.ndarray


class Model(NamedTuple):
    counters: np.ndarray
    weights: np.ndarray
    visits: np.ndarray
    inputs: np.ndarray
    slots: np.ndarray


class Coder(NamedTuple):
    decoding: bool
    interval: np.ndarray
    coming: np.ndarray
    going: np.ndarray
    spent: np.ndarray


class Seen(NamedTuple):
    values: np.ndarray
    columns: np.ndarray
    row: np.ndarray
    all: np.ndarray
    near: np.ndarray
    lines: np.ndarray
    agreed: np.ndarray
    shared: np.ndarray
    odds: np.ndarray
    made: np.ndarray


@njit(cache=True, nogil=True)
def decide(coder, bit, probability, part, at):
    """One decision, written or read."""
    interval = coder.interval
    bit, low, high, code, position = code_bit(
        coder.decoding, bit, probability, interval[0], interval[1], interval[2], int64(interval[3]), coder.coming,
        coder.going,
    )  # fmt: skip
    interval[0], interval[1], interval[2], interval[3] = low, high, code, uint64(position)
    if coder.spent.size:  # asked for; nothing depends on it
        coder.spent[part, at] -= math.log2((probability if bit else 65536 - probability) / 65536)
    return bit


@njit(cache=True, nogil=True)
def decide_alone(coder, model, fixed, slot, bit, limit, part, at):
    """A decision that one counter predicts."""
    probability = min(max(int64(model.counters[slot] >> uint32(16)), 2), 65534)
    bit = decide(coder, bit, probability, part, at)
    model.counters[slot] = after(model.counters[slot], bit, EVEN, fixed.rates, limit)
    return bit


@njit(cache=True, nogil=True)
def decide_mixed(coder, model, fixed, what, one, other, base, bit, limit, pace, at):
    """A decision that the inputs predict that were said of it."""
    inputs, slots, count = model.inputs[what], model.slots[what], COUNTS[what]
    one, other = 2 * what * SETS + one, (2 * what + 1) * SETS + other
    z = mixed(base, inputs, count, model.weights, one, other)
    probability = squashed(z, fixed.squash)
    bit = decide(coder, bit, probability, 1 + what, at)
    model.visits[one] += 1
    pace = (pace * (16 + 16 * SLOWER // ((model.visits[one] >> 4) + SLOWER))) >> 4
    learn(model.counters, bit, probability, inputs, slots, count, model.weights, one, other, fixed.rates, limit, pace)
    return bit


@njit(inline="always")
def hear(model, fixed, what, k, context, base):
    """Input k of a kind of decision: what its counter in this context says."""
    slot = (3 + what * INPUTS + k) * TABLE + context
    say(model.counters, slot, base, fixed.stretch, fixed.trust, model.inputs[what], model.slots[what], k)


@njit(cache=True, nogil=True)
def place(seen, fixed, cell, shape, j, at):
    """The facts of a cell that do not depend on its value."""
    channels, height, width = shape[1], shape[2], shape[3]
    area, biased = height * width, j == channels * height * width
    channel, y, x = j // area, j % area // width, j % width
    cell[J], cell[Y], cell[X] = j, y, x
    cell[KIND] = BIAS if biased else FLAT if area == 1 else IMAGE if channels == 1 else KERNEL
    cell[MADE] = UNKNOWN if biased else seen.made[channel]
    near, values = seen.near, seen.values
    near[:] = 0
    if cell[KIND] <= KERNEL:
        look(values, at, y, x, width, near)
    cell[NEAR] = 2 * (abs(near[LEFT]) + abs(near[ABOVE])) + abs(near[ABOVE_LEFT]) + abs(near[ABOVE_RIGHT])
    cell[TOWARDS] = 2 * (near[LEFT] + near[ABOVE]) + near[ABOVE_LEFT] + near[ABOVE_RIGHT]
    every = seen.all
    cell[ROW] = ratio(seen.row[SUM], seen.row[CELLS], every[SUM], every[CELLS], DOUBT)
    cell[COLUMN] = ratio(seen.columns[SUM, j], seen.columns[CELLS, j], every[SUM], every[CELLS], DOUBT)


@njit(cache=True, nogil=True)
def code_position(coder, model, fixed, seen, cell, shape, bit, at):
    """Whether a cell is not zero."""
    height, width = shape[2], shape[3]
    j, kind, y, x, near = cell[J], cell[KIND], cell[Y], cell[X], seen.near
    inputs, stretch = model.inputs[POSITION], fixed.stretch
    every = (seen.all[ONES] << 16) + DENSITY * DENSITY_CELLS
    every = min(max(every // (seen.all[CELLS] + DENSITY_CELLS), 16), 65520)
    base = int64(stretch[every])
    of_row = share(seen.row[ONES], seen.row[CELLS], every, ROW_PRIOR)
    of_near, ring = every, int64(0)
    inputs[3] = 0
    beside = int64(near[LEFT] != 0) + int64(near[ABOVE] != 0)
    across = int64(near[ABOVE_LEFT] != 0) + int64(near[ABOVE_RIGHT] != 0)
    behind = int64(near[LEFT_2] != 0) + int64(near[ABOVE_2] != 0)
    if kind <= KERNEL:
        total, columns = around(seen.columns[ONES], j, y, x, height, width)
        of_near = share(total, columns * seen.columns[CELLS, j], every, NEAR_PRIOR)
        ones, cells = window(seen.values, at, y, x, width, RADIUS)
        inputs[3] = int64(stretch[share(ones, cells, of_row, WINDOW_PRIOR)]) - int64(stretch[of_row])
        ring = window(seen.values, at, y, x, width, 2)[0] - beside - across
    elif kind == FLAT:
        beside = int64(j > 0 and seen.values[at - 1] != 0)
        across = int64(j > 1 and seen.values[at - 2] != 0)
    of_column = share(seen.columns[ONES, j], seen.columns[CELLS, j], of_near, COLUMN_PRIOR)
    inputs[0] = int64(stretch[of_row]) - base
    inputs[1] = int64(stretch[of_column]) - int64(stretch[of_near])
    inputs[2] = int64(stretch[of_near]) - base
    hear(model, fixed, POSITION, 4, ((beside * 3 + across) * 3 + behind) * 4 + kind, base)
    hear(model, fixed, POSITION, 5, (cell[ROW] * LEVELS + cell[COLUMN]) * 4 + kind, base)
    hear(model, fixed, POSITION, 6, (cell[MADE] * LEVELS + cell[COLUMN]) * 4 + kind, base)
    hear(model, fixed, POSITION, 7, (half_octaves(cell[NEAR]) * LEVELS + cell[ROW]) * 4 + kind, base)
    hear(model, fixed, POSITION, 8, ((beside * 3 + across) * 8 + few(ring)) * 4 + kind, base)
    hear(model, fixed, POSITION, 9, (min(abs(cell[LIKE]) >> 5, 31)) * 4 + kind, base)
    return decide_mixed(coder, model, fixed, POSITION, kind, cell[ROW], base, bit, LIMIT, PACE_POSITION, at)


@njit(cache=True, nogil=True)
def code_sign(coder, model, fixed, seen, cell, bit, at):
    """Whether a value that is not zero is positive."""
    kind, near = cell[KIND], seen.near
    signs = 0
    for k in range(LEFT_2):
        signs = 3 * signs + 1 + (near[k] > 0) - (near[k] < 0)
    towards = half_octaves(abs(cell[TOWARDS]))
    model.inputs[SIGN, 0] = cell[LIKE]
    hear(model, fixed, SIGN, 1, signs * 4 + kind, 0)
    hear(model, fixed, SIGN, 2, (16 + (towards if cell[TOWARDS] > 0 else -towards)) * 4 + kind, 0)
    last = seen.columns[LAST, cell[J]]
    hear(model, fixed, SIGN, 3, ((seen.row[LAST] > 0) * 3 + 1 + (last > 0) - (last < 0)) * 4 + kind, 0)
    return decide_mixed(coder, model, fixed, SIGN, kind, 0, 0, bit, LIMIT, PACE_SIGN, at)


@njit(cache=True, nogil=True)
def code_node(coder, model, fixed, seen, cell, node, positive, bit, at):
    """A decision of the magnitude."""
    row, every, j = seen.row, seen.all, cell[J]
    root = ROOT * TABLE + 2 * node + positive
    base = known(model.counters, root, fixed.stretch)
    of_row = ratio(row[SUM], row[ONES], every[SUM], every[ONES], 16)
    of_column = ratio(seen.columns[SUM, j], seen.columns[ONES, j], every[SUM], every[ONES], 16)
    with_near = (cell[TOWARDS] > 0) == (positive == 1)
    with_like = (cell[LIKE] > 0) == (positive == 1)
    hear(model, fixed, SIZE, 0, node * LEVELS + of_row, base)
    hear(model, fixed, SIZE, 1, node * LEVELS + of_column, base)
    hear(model, fixed, SIZE, 2, node * 16 + half_octaves(cell[NEAR]), base)
    hear(model, fixed, SIZE, 3, (node * 8 + min(abs(row[LAST]), 7)) * 4 + cell[KIND], base)
    hear(model, fixed, SIZE, 4, (node * 2 + with_near) * 16 + half_octaves(abs(cell[TOWARDS])), base)
    hear(model, fixed, SIZE, 5, (node * LEVELS + cell[ROW]) * LEVELS + cell[COLUMN], base)
    hear(model, fixed, SIZE, 6, (node * 2 + with_like) * 32 + min(abs(cell[LIKE]) >> 5, 31), base)
    bit = decide_mixed(coder, model, fixed, SIZE, min(node, 7), 0, base, bit, LIMIT_SIZE, PACE_SIZE, at)
    model.counters[root] = after(model.counters[root], bit, EVEN, fixed.rates, LIMIT_SIZE)
    return bit


@njit(cache=True, nogil=True)
def code_size(coder, model, fixed, seen, cell, size, positive, largest, at):
    """The magnitude of a value: how many bits it has, in unary, then those below the first. What the largest of all
    rules out is not coded."""
    bits, length = 0, 0
    while size >> (length + 1):
        length += 1
    while 2 << bits <= largest and code_node(coder, model, fixed, seen, cell, bits, positive, int64(length > bits), at):
        bits += 1
    found = int64(1)
    for left in range(bits - 1, -1, -1):
        above = bits - 1 - left
        bit = int64(0)
        if (2 * found + 1) << left <= largest:
            lower = 32 + 2 * bits + (found & 1) if above == 1 else 64 + 4 * bits + min(above - 2, 3)
            node = lower if above else 16 + bits
            bit = code_node(coder, model, fixed, seen, cell, node, positive, (size >> left) & 1, at)
        found = 2 * found + bit
    return found


@njit(cache=True, nogil=True)
def code_row(coder, model, fixed, seen, cell, shape, start, live, largest, signed):
    """The cells of a row that are not all zero."""
    values, row, columns, every = seen.values, seen.row, seen.columns, seen.all
    first = max(live - BESIDE, 0)
    row[:] = 0
    seen.agreed[:live], seen.shared[:live], seen.odds[:live] = 0, 0, 0
    for j in range(columns.shape[1]):
        at = start + j
        value = int64(values[at])
        place(seen, fixed, cell, shape, j, at)
        if cell[MADE] == NOTHING:
            bit = decide_alone(coder, model, fixed, DEAD * TABLE, int64(value != 0), SEEN, 1, at)
            cell[LIKE] = 0
        else:
            cell[LIKE] = alike(values, seen.lines, first, live, j, seen.odds)
            bit = code_position(coder, model, fixed, seen, cell, shape, int64(value != 0), at)
            row[CELLS] += 1
            every[CELLS] += 1
        columns[CELLS, j] += 1
        if bit:
            positive = code_sign(coder, model, fixed, seen, cell, int64(value > 0), at) if signed else int64(1)
            size = code_size(coder, model, fixed, seen, cell, abs(value), positive, largest, at)
            value = size if positive else -size
            values[at] = value
            row[ONES], row[SUM], row[LAST] = row[ONES] + 1, row[SUM] + size, value
            columns[ONES, j], columns[SUM, j], columns[LAST, j] = columns[ONES, j] + 1, columns[SUM, j] + size, value
            every[ONES], every[SUM] = every[ONES] + 1, every[SUM] + size
            compare(
                values, seen.lines, first, live, j, positive == 1, seen.agreed, seen.shared, seen.odds, fixed.stretch,
                LIKE_PRIOR,
            )  # fmt: skip


@njit(cache=True, nogil=True)
def levels_made(producers, channels):
    """How much each channel's producer has that is not zero beside the others, if that is known of them."""
    made = np.full(channels, UNKNOWN, np.int64)
    if producers.size == channels:
        total = producers.sum()
        for c in range(channels):
            made[c] = half_octaves(16 * channels * producers[c] // total) if producers[c] else NOTHING
    return made


@njit(cache=True, nogil=True)
def code_matrix(coder, model, fixed, values, producers, shape, start, largest, signed):
    """One matrix; returns how many values of each row are not zero, or nothing if the stream has ended before."""
    rows, length = shape[0], shape[1] * shape[2] * shape[3] + shape[4]
    ones = np.zeros(rows, np.int64)
    seen = Seen(
        values, np.zeros((4, length), np.int64), np.zeros(4, np.int64), np.zeros(4, np.int64), np.zeros(6, np.int64),
        np.zeros(rows, np.int64), np.zeros(rows, np.int64), np.zeros(rows, np.int64), np.zeros(rows, np.int64),
        levels_made(producers, shape[1]),
    )  # fmt: skip
    cell = np.zeros(10, np.int64)
    live, flags = 0, 0
    for i in range(rows):
        at = start + i * length
        if coder.decoding and int64(coder.interval[3]) > coder.coming.size + 8:
            return ones[:0]
        bit = decide_alone(
            coder, model, fixed, LIVE * TABLE + flags, int64(min(np.count_nonzero(values[at : at + length]), 1)),
            LIMIT_LIVE, 0, at,
        )  # fmt: skip
        flags = ((flags << 1) | bit | 4) & 7
        if bit:
            code_row(coder, model, fixed, seen, cell, shape, at, live, largest, signed)
            seen.lines[live] = at
            live += 1
            ones[i] = seen.row[ONES]
    return ones


@njit(cache=True, nogil=True)
def forget(counters, most):
    """What the magnitudes of one matrix were is remembered for the next, but not firmly."""
    for slot in range(ROOT * TABLE, (ROOT + 1) * TABLE):
        seen = min(counters[slot] & uint32(SEEN), uint32(most))
        counters[slot] = uint32((counters[slot] >> uint32(10)) << uint32(10)) | seen


@njit(cache=True, nogil=True)
def code_matrices(decoding, values, shapes, largest, signed, fixed, counters, weights, coming, going, spent):
    """Writes the stream of the values into `going`, or fills them from the stream `coming`.

    Returns the size of the stream; when decoding, how many bytes are settled, and `going` gets what the encoder would
    end with after them, behind their number; TOO_SHORT if the stream ended.
    """
    interval = np.zeros(4, np.uint64)
    interval[1] = uint64(0xFFFFFFFFFFFFFFFF)
    code, position = first_code(decoding, coming)
    interval[2], interval[3] = code, uint64(position)
    coder = Coder(decoding, interval, coming, going, spent)
    model = Model(
        counters, weights, np.zeros(weights.shape[0], np.int64), np.zeros((3, INPUTS), np.int64),
        np.full((3, INPUTS), NO_COUNTER, np.int64),
    )  # fmt: skip
    producers, start = np.zeros(0, np.int64), 0
    for m in range(shapes.shape[0]):
        shape = shapes[m]
        forget(counters, KEPT)
        producers = code_matrix(coder, model, fixed, values, producers, shape, start, largest, signed)
        if producers.size == 0:
            return TOO_SHORT
        start += shape[0] * (shape[1] * shape[2] * shape[3] + shape[4])
    if decoding:
        going[0] = finish(interval[0], interval[1], going, 1) - 1
        return int64(interval[3]) - 8
    return finish(interval[0], interval[1], going, int64(interval[3]))
