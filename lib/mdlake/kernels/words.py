"""Strings cut into words and what is between them. `joins` (bool[256]) says which bytes make words.

A token is as long a run as there is of bytes that make words, or of others; an empty one ends each string. A space
alone between two words is left out.
"""

from numba import njit


@njit(cache=True, nogil=True)
def cut(offsets, data, joins, lengths, out, write):
    """Counts the tokens of all strings and their bytes; if `write`, fills lengths (int64) and out with them."""
    tokens = 0
    bytes_ = 0
    for i in range(offsets.size - 1):
        start = offsets[i]
        end = offsets[i + 1]
        at = start
        while at < end:
            word = joins[data[at]]
            stop = at + 1
            while stop < end and joins[data[stop]] == word:
                stop += 1
            if word or stop - at > 1 or data[at] != 32 or at == start or stop == end:
                if write:
                    lengths[tokens] = stop - at
                    for n in range(stop - at):
                        out[bytes_ + n] = data[at + n]
                tokens += 1
                bytes_ += stop - at
            at = stop
        if write:
            lengths[tokens] = 0
        tokens += 1
    return tokens, bytes_


@njit(cache=True, nogil=True)
def measure(offsets, data, joins, lengths):
    """The length of each string that the tokens make; returns how many strings there are, at most lengths.size + 1."""
    string = 0
    size = 0
    word = False
    for i in range(offsets.size - 1):
        start = offsets[i]
        end = offsets[i + 1]
        if start == end:
            if string == lengths.size:
                return string + 1
            lengths[string] = size
            string += 1
            size = 0
            word = False
        else:
            size += end - start + (word and joins[data[start]])
            word = joins[data[end - 1]]
    return string


@njit(cache=True, nogil=True)
def join(offsets, data, joins, out):
    """Writes the strings that the tokens make, one after another."""
    at = 0
    word = False
    for i in range(offsets.size - 1):
        start = offsets[i]
        end = offsets[i + 1]
        if start == end:
            word = False
        else:
            if word and joins[data[start]]:
                out[at] = 32
                at += 1
            for n in range(start, end):
                out[at] = data[n]
                at += 1
            word = joins[data[end - 1]]
