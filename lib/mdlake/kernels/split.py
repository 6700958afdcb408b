"""Strings split at a byte: at its first occurrences, or at the last ones."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def occurrences(offsets, data, delimiter, out):
    """How often the byte occurs in each string, uint8, at most 255."""
    for i in range(out.size):
        count = 0
        for place in range(offsets[i], offsets[i + 1]):
            count += data[place] == delimiter
        out[i] = min(count, 255)


@njit(cache=True, nogil=True)
def measure(offsets, data, delimiter, skipped, pieces, counts, sizes):
    """Adds up for each column its strings and their bytes; string i has pieces[i], the first skipped[i] of the
    delimiters are part of the first."""
    for i in range(pieces.size):
        start = offsets[i]
        skip = np.int64(skipped[i])
        column = 0
        for place in range(offsets[i], offsets[i + 1]):
            if data[place] == delimiter and column + 1 < pieces[i]:
                if skip > 0:
                    skip -= 1
                    continue
                counts[column] += 1
                sizes[column] += place - start
                start = place + 1
                column += 1
        counts[column] += 1
        sizes[column] += offsets[i + 1] - start


@njit(cache=True, nogil=True)
def fill(offsets, data, delimiter, skipped, pieces, rows, places, lengths, out):
    """Fills lengths and out with the columns one after another, from rows[column] and places[column] on."""
    for i in range(pieces.size):
        start = offsets[i]
        end = offsets[i + 1]
        skip = np.int64(skipped[i])
        column = 0
        place = start
        while place <= end:
            if place == end or (data[place] == delimiter and column + 1 < pieces[i]):
                if place < end and skip > 0:
                    skip -= 1
                    place += 1
                    continue
                lengths[rows[column]] = place - start
                rows[column] += 1
                for n in range(start, place):
                    out[places[column]] = data[n]
                    places[column] += 1
                start = place + 1
                column += 1
            place += 1
