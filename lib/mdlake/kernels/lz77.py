"""LZ77: finding repeats, and copying them back.

Data become sequences: so many literals, then a copy of `length` bytes from `distance` bytes back; what
follows the last copy are literals. A copy may overlap itself. Ziv and Lempel, "A universal algorithm for
sequential data compression", 1977; hash chains and lazy matching as in zlib.
"""

import numpy as np
from numba import njit, uint32

SHORTEST = 4  # bytes of a match, but for one at the distance of the match before
SHORTEST_AGAIN = 3
HASH_BITS = 16


@njit(cache=True, nogil=True)
def hash_at(data, i):
    word = uint32(data[i]) | uint32(data[i + 1]) << uint32(8)
    word |= uint32(data[i + 2]) << uint32(16) | uint32(data[i + 3]) << uint32(24)
    return uint32(uint32(word) * uint32(2654435761)) >> uint32(32 - HASH_BITS)


@njit(cache=True, nogil=True)
def common_length(data, earlier, later):
    length = 0
    while later + length < data.size and data[earlier + length] == data[later + length]:
        length += 1
    return length


@njit(cache=True, nogil=True)
def log2_floor(value):
    result = 0
    while value > 1:
        value >>= 1
        result += 1
    return result


@njit(cache=True, nogil=True)
def best_match(data, i, head, chain, depth, again):
    """The match at i that saves most bits: (length, distance, gain); a gain of 0 if there is none.

    A literal counts as six bits, a copy as eight and the bits of its distance; `again` is the distance
    of the match before, which costs nothing to name.
    """
    best_length, best_distance, best_gain = 0, 0, 0
    if again <= i:
        length = common_length(data, i - again, i)
        if length >= SHORTEST_AGAIN:
            best_length, best_distance, best_gain = length, again, 6 * length - 8
    candidate = head[hash_at(data, i)]
    while candidate >= 0 and depth > 0:
        beyond = i + best_length
        if beyond < data.size and data[candidate + best_length] == data[beyond]:
            length = common_length(data, candidate, i)
            gain = 6 * length - 8 - log2_floor(i - candidate)
            if length >= SHORTEST and gain > best_gain:
                best_length, best_distance, best_gain = length, i - candidate, gain
        candidate = chain[candidate]
        depth -= 1
    return best_length, best_distance, best_gain


@njit(cache=True, nogil=True)
def find_sequences(data, depth, head, chain, sequences):
    """Fills rows (literals, length, distance) of sequences and returns how many there are.

    head (filled with -1) and chain link the places of equal hash; depth of them are looked at. A match
    yields to one at the next byte that gains more.
    """
    count, start, i = 0, 0, 0
    again = np.int64(1)
    last = data.size - SHORTEST  # the last place that has a hash
    next_length, next_distance, next_gain = 0, 0, -1
    while i <= last:
        if next_gain >= 0:
            length, distance, gain = next_length, next_distance, next_gain
            next_gain = -1
        else:
            length, distance, gain = best_match(data, i, head, chain, depth, again)
        key = hash_at(data, i)
        chain[i] = head[key]
        head[key] = i
        if gain <= 0:
            i += 1
            continue
        if i < last:
            next_length, next_distance, next_gain = best_match(data, i + 1, head, chain, depth, again)
            if next_gain > gain + 4:
                i += 1
                continue
        sequences[count, 0] = i - start
        sequences[count, 1] = length
        sequences[count, 2] = distance
        count += 1
        for k in range(i + 1, min(i + length, last + 1)):
            key = hash_at(data, k)
            chain[k] = head[key]
            head[key] = k
        i += length
        start, again, next_gain = i, distance, -1
    return count


@njit(cache=True, nogil=True)
def gather_literals(data, sequences, literals):
    """Copies the bytes outside of matches; returns how many there are."""
    at, filled = 0, 0
    for s in range(sequences.shape[0]):
        for k in range(sequences[s, 0]):
            literals[filled + k] = data[at + k]
        filled += sequences[s, 0]
        at += sequences[s, 0] + sequences[s, 1]
    for k in range(data.size - at):
        literals[filled + k] = data[at + k]
    return filled + data.size - at


@njit(cache=True, nogil=True)
def copy_sequences(sequences, literals, data):
    """Fills data; returns 0, or -1 if a sequence reaches outside of what there is or the sizes disagree."""
    at, used = 0, 0
    for s in range(sequences.shape[0]):
        run, length, distance = sequences[s, 0], sequences[s, 1], sequences[s, 2]
        if run > literals.size - used or run > data.size - at:
            return -1
        for k in range(run):
            data[at + k] = literals[used + k]
        at += run
        used += run
        if distance > at or distance < 1 or length > data.size - at:
            return -1
        for k in range(length):
            data[at + k] = data[at + k - distance]
        at += length
    if literals.size - used != data.size - at:
        return -1
    for k in range(data.size - at):
        data[at + k] = literals[used + k]
    return 0
