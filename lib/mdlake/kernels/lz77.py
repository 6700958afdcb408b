"""LZ77: finding repeats, and copying them back.

Data become sequences: so many literals, then a copy of `length` bytes from `distance` bytes back; what
follows the last copy are literals. A copy may overlap itself. Ziv and Lempel, "A universal algorithm for
sequential data compression", 1977; hash chains and lazy matching as in zlib.
"""

import numpy as np
from numba import njit, uint32

SHORTEST = 4  # bytes of a match, but for one at the distance of the match before
SHORTEST_AGAIN = 3
COPY_BITS = 11  # about what the buckets of a copy cost
PATIENCE = 8  # after 2**PATIENCE literals on end, places are skipped, ever more of them


@njit(cache=True, nogil=True)
def hash_at(data, i, shift):
    word = uint32(data[i]) | uint32(data[i + 1]) << uint32(8)
    word |= uint32(data[i + 2]) << uint32(16) | uint32(data[i + 3]) << uint32(24)
    return uint32(uint32(word) * uint32(2654435761)) >> uint32(shift)


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
def best_match(data, i, head, chain, shift, depth, price, again):
    """The match at i that saves most: (length, distance, gain in 1/16 bits); a gain of 0 if none does.

    A literal costs price, a copy COPY_BITS and the bits of its distance; `again` is the distance of the
    match before, which costs nothing to name.
    """
    best_length, best_distance, best_gain = 0, np.int64(0), 0
    if again <= i:
        length = common_length(data, i - again, i)
        gain = price * length - 16 * COPY_BITS
        if length >= SHORTEST_AGAIN and gain > 0:
            best_length, best_distance, best_gain = length, again, gain
    link = head[hash_at(data, i, shift)]
    while link > 0 and depth > 0:
        candidate = np.int64(link) - 1
        beyond = i + best_length
        if beyond < data.size and data[candidate + best_length] == data[beyond]:
            length = common_length(data, candidate, i)
            gain = price * length - 16 * (COPY_BITS + log2_floor(i - candidate))
            if length >= SHORTEST and gain > best_gain:
                best_length, best_distance, best_gain = length, i - candidate, gain
        link = chain[candidate]
        depth -= 1
    return best_length, best_distance, best_gain


@njit(cache=True, nogil=True)
def find_sequences(data, depth, price, head, chain, shift, sequences):
    """Fills rows (literals, length, distance) of sequences and returns how many there are.

    head (zeroed, 2**(32 - shift) of them) and chain link the places of equal hash, each plus one; depth
    of them are looked at. A match yields to one at the next byte that gains clearly more.
    """
    count, start, i = 0, 0, 0
    again = np.int64(1)
    last = data.size - SHORTEST  # the last place that has a hash
    length, distance, gain = 0, np.int64(0), -1  # of a match at i, if already known
    while i <= last:
        if gain < 0:
            length, distance, gain = best_match(data, i, head, chain, shift, depth, price, again)
        key = hash_at(data, i, shift)
        chain[i] = head[key]
        head[key] = i + 1
        if gain == 0:
            i += 1 + ((i - start) >> PATIENCE)
            gain = -1
            continue
        if i < last:
            later = best_match(data, i + 1, head, chain, shift, depth, price, again)
            if later[2] > gain + price:
                length, distance, gain = later
                i += 1
                continue
        sequences[count, 0] = i - start
        sequences[count, 1] = length
        sequences[count, 2] = distance
        count += 1
        for k in range(i + 1, min(i + length, last + 1)):
            key = hash_at(data, k, shift)
            chain[k] = head[key]
            head[key] = k + 1
        i += length
        start, again, gain = i, distance, -1
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
