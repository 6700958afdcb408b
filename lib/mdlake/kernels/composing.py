"""Strings put together from parts of other strings, and from numbers.

Strings are offsets (int64[n + 1]) into data (uint8). `chosen` (bool[n]) says which rows are made at all. A place in a
string is (how, count, byte): so many bytes from its start or end, or at the count-th of such bytes, from 0.
"""

import numpy as np
from numba import njit

FROM_START, FROM_END, BEFORE, BEHIND, BEFORE_LAST, BEHIND_LAST = range(6)
AS_IS, LOWER, UPPER, CAPITAL = range(4)


@njit(cache=True, nogil=True, inline="always")
def _place(data, start, end, place):
    """Where it is; where there is no such byte, the end of the string, or its start if counted from the end."""
    how, count, byte = place
    if how == FROM_START:
        return min(start + count, end)
    if how == FROM_END:
        return max(end - count, start)
    if how <= BEHIND:
        for at in range(start, end):
            if data[at] == byte:
                if count == 0:
                    return at + (how == BEHIND)
                count -= 1
        return end
    for at in range(end - 1, start - 1, -1):
        if data[at] == byte:
            if count == 0:
                return at + (how == BEHIND_LAST)
            count -= 1
    return start


@njit(cache=True, nogil=True)
def add_cuts(offsets, data, first, last, chosen, lengths):
    """Adds to each length that of the string from one place to another."""
    for i in range(chosen.size):
        if chosen[i]:
            start = _place(data, offsets[i], offsets[i + 1], first)
            lengths[i] += max(_place(data, offsets[i], offsets[i + 1], last) - start, 0)


@njit(cache=True, nogil=True)
def put_cuts(offsets, data, first, last, case, chosen, at, out):
    """Writes that part of string i at `at[i]`, which moves behind it."""
    for i in range(chosen.size):
        if chosen[i]:
            start = _place(data, offsets[i], offsets[i + 1], first)
            stop = _place(data, offsets[i], offsets[i + 1], last)
            for place in range(start, stop):
                byte = data[place]
                upper = case == UPPER or (case == CAPITAL and place == start)
                if upper and 97 <= byte <= 122:
                    byte -= np.uint8(32)
                elif case != AS_IS and not upper and 65 <= byte <= 90:
                    byte += np.uint8(32)
                out[at[i] + place - start] = byte
            at[i] += max(stop - start, 0)


@njit(cache=True, nogil=True, inline="always")
def _size(value):
    return np.uint64(-value) if value < 0 else np.uint64(value)


@njit(cache=True, nogil=True)
def add_numbers(values, least, decimals, chosen, lengths):
    """Adds to each length that of the number as `put_numbers` writes it."""
    for i in range(chosen.size):
        if chosen[i]:
            rest = _size(values[i]) // np.uint64(10)
            digits = 1
            while rest > np.uint64(0):
                rest //= np.uint64(10)
                digits += 1
            lengths[i] += max(digits, least, decimals + 1) + (values[i] < 0) + (decimals > 0)


@njit(cache=True, nogil=True)
def put_numbers(values, least, decimals, chosen, lengths, at, out):
    """Writes each value at `at[i]`, which moves behind it, in lengths[i] bytes: a minus, at least `least` digits, a
    point before the last `decimals` of them."""
    for i in range(chosen.size):
        if chosen[i]:
            rest = _size(values[i])
            start = at[i]
            at[i] += lengths[i]
            if values[i] < 0:
                out[start] = 45
                start += 1
            for place in range(at[i] - 1, start - 1, -1):
                if decimals > 0 and place == at[i] - 1 - decimals:
                    out[place] = 46
                else:
                    tenth = rest // np.uint64(10)
                    out[place] = np.uint8(rest - tenth * np.uint64(10)) + np.uint8(48)
                    rest = tenth


@njit(cache=True, nogil=True)
def put_literal(literal, chosen, at, out):
    """Writes the same bytes at every `at[i]`, which moves behind them."""
    for i in range(chosen.size):
        if chosen[i]:
            for n in range(literal.size):
                out[at[i] + n] = literal[n]
            at[i] += literal.size


@njit(cache=True, nogil=True, inline="always")
def _equal(left, left_start, right, right_start, count):
    n = 0
    while n < count and left[left_start + n] == right[right_start + n]:
        n += 1
    return n == count


@njit(cache=True, nogil=True)
def match(offsets, data, heads, head_data, tails, tail_data, whole, fits):
    """Whether each string begins with its head and ends with its tail, with nothing between if they are the `whole`."""
    for i in range(fits.size):
        start = offsets[i]
        size = offsets[i + 1] - start
        head = heads[i + 1] - heads[i]
        tail = tails[i + 1] - tails[i]
        fits[i] = size == head + tail if whole else size >= head + tail
        if fits[i]:
            fits[i] = _equal(data, start, head_data, heads[i], head)
        if fits[i]:
            fits[i] = _equal(data, offsets[i + 1] - tail, tail_data, tails[i], tail)


@njit(cache=True, nogil=True)
def cut(offsets, data, rows, starts, lengths, out):
    """For each i so many bytes of string rows[i], from starts[i] on, one after another."""
    place = 0
    for i in range(rows.size):
        begin = offsets[rows[i]] + starts[i]
        for n in range(lengths[i]):
            out[place] = data[begin + n]
            place += 1
