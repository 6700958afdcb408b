"""Strings cut into tokens: runs of digits, of hexadecimal digits, of letters, and single other bytes.

Strings are offsets (int64[n + 1]) into data (uint8). `classes` (uint8[256]) says for each byte whether it is a digit
(1), a letter (2), or neither (0); its bit 2 is set for hexadecimal digits of one case. `words`: whether a run of
letters is a token; `least`: how many hexadecimal digits between bytes of class 0 are one, 0 for none.
"""

import numpy as np
from numba import njit

BYTE, DECIMAL, HEX, WORD = 0, 1, 2, 3
MOST_DIGITS, MOST_HEX = 18, 16


@njit(cache=True, nogil=True, inline="always")
def _alone(data, at, end, classes):
    """Where the run of hexadecimal digits that begins here ends, if bytes of class 0 surround it; else `at`."""
    stop = at
    while stop < end and classes[data[stop]] & 4:
        stop += 1
    return at if stop < end and classes[data[stop]] & 3 else stop


@njit(cache=True, nogil=True, inline="always")
def next_token(data, start, at, end, until, classes, words, least):
    """The kind of the token at `at`, where it ends, and where the hexadecimal run that it is part of does."""
    kind = classes[data[at]] & 3
    if kind == 0:
        return BYTE, at + 1, until
    if least > 0 and at >= until and (at == start or classes[data[at - 1]] & 3 == 0):
        stop = _alone(data, at, end, classes)
        if stop - at >= least:
            until = stop
    if at < until:
        return HEX, min(at + MOST_HEX, until), until
    stop = at + 1
    if kind == 1:
        while stop < end and stop - at < MOST_DIGITS and classes[data[stop]] & 3 == 1:
            stop += 1
        return DECIMAL, stop, until
    if not words:
        return BYTE, stop, until
    while stop < end and classes[data[stop]] & 3 == 2:
        stop += 1
    return WORD, stop, until


@njit(cache=True, nogil=True)
def signatures(rows, offsets, data, classes, words, least, longest, out):
    """`out[i]` (uint64): a hash of what string rows[i] is like, all numbers and words taken for equal; odd if it has
    any of them. 0 if it exceeds `longest`."""
    for i in range(rows.size):
        start = offsets[rows[i]]
        end = offsets[rows[i] + 1]
        at = start
        until = start
        hashed = np.uint64(0xCBF29CE484222325)
        named = np.uint64(0)
        while at < end and end - start <= longest:
            kind, stop, until = next_token(data, start, at, end, until, classes, words, least)
            seen = np.uint64(data[at]) if kind == BYTE else np.uint64(256 + kind)
            hashed = (hashed ^ seen) * np.uint64(0x100000001B3)
            hashed ^= hashed >> np.uint64(29)
            named |= np.uint64(kind != BYTE)
            at = stop
        out[i] = hashed & ~np.uint64(3) | np.uint64(2) | named if end - start <= longest else np.uint64(0)


@njit(cache=True, nogil=True)
def tokens(data, classes, words, least, kinds, stops):
    """Cuts one string; fills kinds (uint8) and stops (int64) and returns how many tokens there are."""
    at = 0
    until = 0
    count = 0
    while at < data.size:
        kinds[count], stops[count], until = next_token(data, 0, at, data.size, until, classes, words, least)
        at = stops[count]
        count += 1
    return count


@njit(cache=True, nogil=True)
def cut(rows, offsets, data, classes, words, least, kinds, seen, starts, lengths, fits):
    """The fields of strings that look alike: fills starts and lengths, uint16 [fields, rows], within each string.

    `fits[i]` becomes whether string rows[i] has just the tokens of these `kinds`, single bytes those of `seen`.
    """
    for i in range(rows.size):
        start = offsets[rows[i]]
        end = offsets[rows[i] + 1]
        at = start
        until = start
        token = 0
        field = 0
        fits[i] = True
        while at < end and fits[i]:
            kind, stop, until = next_token(data, start, at, end, until, classes, words, least)
            if token >= kinds.size or kind != kinds[token] or (kind == BYTE and data[at] != seen[token]):
                fits[i] = False
            elif kind != BYTE:
                starts[field, i] = at - start
                lengths[field, i] = stop - at
                field += 1
            token += 1
            at = stop
        fits[i] &= token == kinds.size


@njit(cache=True, nogil=True)
def parse(rows, offsets, data, starts, lengths, base, out):
    """The numbers that these digits are, uint64."""
    for i in range(rows.size):
        at = offsets[rows[i]] + starts[i]
        value = np.uint64(0)
        for place in range(at, at + lengths[i]):
            byte = data[place]
            digit = byte - 48 if byte < 58 else (byte & 0x1F) + 9
            value = value * np.uint64(base) + np.uint64(digit)
        out[i] = value


@njit(cache=True, nogil=True)
def copy(rows, offsets, data, starts, lengths, out):
    """The words themselves, one after another."""
    at = 0
    for i in range(rows.size):
        start = offsets[rows[i]] + starts[i]
        for place in range(start, start + lengths[i]):
            out[at] = data[place]
            at += 1


@njit(cache=True, nogil=True)
def add_digits(values, base, least, lengths):
    """Adds to each length how many digits the value takes, at least `least`."""
    for i in range(values.size):
        value = values[i]
        count = 1
        if base == 16:
            while value >= np.uint64(16):
                value >>= np.uint64(4)
                count += 1
        else:
            while value >= np.uint64(10):
                value //= np.uint64(10)
                count += 1
        lengths[i] += max(count, least)


@njit(cache=True, nogil=True)
def put_numbers(values, base, letter, least, at, data):
    """Writes each value's digits at `at[i]`, with leading zeros up to `least`; `at` moves behind them.

    `letter` is the byte of the digit ten, less ten.
    """
    for i in range(values.size):
        value = values[i]
        count = 0
        rest = value
        while count == 0 or rest > np.uint64(0):
            rest = rest >> np.uint64(4) if base == 16 else rest // np.uint64(10)
            count += 1
        count = max(count, least)
        for place in range(at[i] + count - 1, at[i] - 1, -1):
            if base == 16:
                digit = value & np.uint64(15)
                value >>= np.uint64(4)
            else:
                rest = value // np.uint64(10)
                digit = value - rest * np.uint64(10)
                value = rest
            data[place] = np.uint8(digit) + np.uint8(48 if digit < 10 else letter)
        at[i] += count


@njit(cache=True, nogil=True)
def put_strings(offsets, source, at, data):
    """Writes string i at `at[i]`; `at` moves behind it."""
    for i in range(at.size):
        place = at[i]
        for n in range(offsets[i], offsets[i + 1]):
            data[place] = source[n]
            place += 1
        at[i] = place


@njit(cache=True, nogil=True)
def put_literal(literal, at, data):
    """Writes the same bytes at every `at[i]`; `at` moves behind them."""
    for i in range(at.size):
        for n in range(literal.size):
            data[at[i] + n] = literal[n]
        at[i] += literal.size
