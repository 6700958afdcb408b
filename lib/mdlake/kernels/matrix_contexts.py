"""What is known of a cell of a matrix before it is coded: its row, its column, the pixels around it, rows like its own.

All in integers; FORMAT.md, "Matrices", has the arithmetic.
"""

from numba import int64, njit

from mdlake.kernels.residual_mixing import share

COMPILED_IN = "6fa6a3dfa399a701"

LEFT, ABOVE, ABOVE_LEFT, ABOVE_RIGHT, LEFT_2, ABOVE_2 = range(6)
MOST = 7  # steps of half an octave that a ratio is told apart
LEVELS = 2 * MOST + 1
EVEN = 1 << 15  # a probability of one half


@njit(inline="always")
def logarithm(number):
    """4 log2 of a number from 1 on, the fraction by the two bits below the first."""
    rest, octave = int64(number), int64(0)
    while rest >= 16:
        rest, octave = rest >> 4, octave + 4
    while rest >= 2:
        rest, octave = rest >> 1, octave + 1
    return 4 * octave + (((int64(number) << 2) >> octave) & 3)


@njit(inline="always")
def ratio(total, cells, all_total, all_cells, doubt):
    """How large the mean of some cells is beside that of all, in half octaves: 0 to 14, 7 if about as large."""
    one = (16 * total + doubt) * (all_cells + 1)
    other = 16 * (all_total + 1) * cells + doubt * (all_cells + 1)
    return min(max((logarithm(one) - logarithm(other) + 1) >> 1, -MOST), MOST) + MOST


@njit(inline="always")
def half_octaves(number):
    """Of a number from 0 on: 0 to 15."""
    return min(logarithm(number + 1) >> 1, 15)


@njit(inline="always")
def few(number):
    """0 to 3 apart, then 4-5, 6-8, 9-14, more."""
    return number if number < 4 else 4 + (number > 5) + (number > 8) + (number > 14)


@njit(cache=True, nogil=True)
def look(values, at, y, x, width, near):
    """The six cells before this one in its plane that lie nearest; 0 beyond its edges."""
    near[LEFT] = values[at - 1] if x > 0 else 0
    near[LEFT_2] = values[at - 2] if x > 1 else 0
    near[ABOVE] = values[at - width] if y > 0 else 0
    near[ABOVE_2] = values[at - 2 * width] if y > 1 else 0
    near[ABOVE_LEFT] = values[at - width - 1] if y > 0 and x > 0 else 0
    near[ABOVE_RIGHT] = values[at - width + 1] if y > 0 and x < width - 1 else 0


@njit(cache=True, nogil=True)
def around(counts, j, y, x, height, width):
    """The counts of the columns of the eight pixels around, those beside it twice; and how many columns that makes."""
    total, columns = int64(0), int64(0)
    for dy in range(max(-1, -y), min(2, height - y)):
        for dx in range(max(-1, -x), min(2, width - x)):
            if dy or dx:
                weight = 1 if dy and dx else 2
                total += weight * counts[j + dy * width + dx]
                columns += weight
    return total, columns


@njit(cache=True, nogil=True)
def window(values, at, y, x, width, radius):
    """How many of the cells before this one in its plane, at most `radius` lines and columns away, are not zero; and
    how many cells these are."""
    ones, cells = int64(0), int64(0)
    for dy in range(0, min(radius, y) + 1):
        start, stop = max(x - radius, 0), x if dy == 0 else min(x + radius + 1, width)
        cells += stop - start
        for k in range(start, stop):
            ones += values[at - dy * width + k - x] != 0
    return ones, cells


@njit(cache=True, nogil=True)
def alike(values, lines, first, last, j, odds):
    """What the rows before say of the sign in column j: each the sign it has there, as far as its signs were this
    row's so far."""
    total = int64(0)
    for k in range(first, last):
        value = values[lines[k] + j]
        if value > 0:
            total += odds[k]
        elif value < 0:
            total -= odds[k]
    return min(max(total, -2047), 2047)


@njit(cache=True, nogil=True)
def compare(values, lines, first, last, j, positive, agreed, shared, odds, stretch, strength):
    """Counts a value of this row beside those of the rows before."""
    for k in range(first, last):
        value = values[lines[k] + j]
        if value:
            shared[k] += 1
            agreed[k] += (value > 0) == positive
            odds[k] = stretch[share(agreed[k], shared[k], EVEN, strength)]
