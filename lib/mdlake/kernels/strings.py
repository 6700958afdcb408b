"""Byte strings given as offsets (int64[n + 1]) into data (uint8)."""

from numba import njit


@njit(cache=True, nogil=True)
def shared_prefixes(offsets, data, out):
    """`out[i]`: how many leading bytes string i shares with string i - 1 (0 for the first)."""
    out[0] = 0
    for i in range(1, offsets.size - 1):
        before = offsets[i - 1]
        here = offsets[i]
        longest = min(here - before, offsets[i + 1] - here)
        n = 0
        while n < longest and data[before + n] == data[here + n]:
            n += 1
        out[i] = n


@njit(cache=True, nogil=True)
def drop_prefixes(prefixes, offsets, data, out):
    """Fills `out` with what is left of each string without its first `prefixes[i]` bytes."""
    at = 0
    for i in range(prefixes.size):
        for n in range(offsets[i] + prefixes[i], offsets[i + 1]):
            out[at] = data[n]
            at += 1


@njit(cache=True, nogil=True)
def join_prefixes(prefixes, suffix_offsets, suffix_data, offsets, out):
    """Rebuilds strings from shared prefixes and suffixes; `prefixes[i]` must not exceed the length of string i - 1."""
    for i in range(prefixes.size):
        at = offsets[i]
        if i > 0:
            before = offsets[i - 1]
            for n in range(prefixes[i]):
                out[at + n] = out[before + n]
        at += prefixes[i]
        for n in range(suffix_offsets[i], suffix_offsets[i + 1]):
            out[at] = suffix_data[n]
            at += 1
