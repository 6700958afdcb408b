"""Floats taken apart, row by row: the loops of `mdlake.encodings.weights`.

A value's bits are its sign, its *top* (exponent and the first bits of the mantissa) and `low` bits below. The top
becomes a symbol; sign and low bits, the *rest*, are kept as they are, in planes of 8, 4, 2 and 1 bits. Where the last
bits of a whole row are zeros, they are left out. Loops do one thing each, over plain indices, so that LLVM turns them
into vector instructions.
"""

import numpy as np
from numba import njit, uint8, uint64

from mdlake.kernels.narrow import bits_and, bits_or, down, plus, up

COMPILED_IN = "3c530725e6960243"

STRETCH = 4096
"""A row is taken apart in stretches of so many values, each with planes of its own."""


@njit(cache=True, nogil=True)
def describe_rows(bits, length, low, sums, zeros):
    """The sum of each row's tops, uint64, and how many last bits are zeros in all its values, at most `low`, uint8."""
    sign = bits.dtype.type(8 * bits.itemsize - 1)
    size = (bits.dtype.type(1) << sign) - bits.dtype.type(1)
    shift = bits.dtype.type(low)
    for row in range(sums.size):
        total, every = uint64(0), bits.dtype.type(0)
        for i in range(row * length, min((row + 1) * length, bits.size)):
            total += uint64((bits[uint64(i)] & size) >> shift)
            every |= bits[uint64(i)]
        sums[row] = total
        count = 0
        while count < low and not (every >> bits.dtype.type(count)) & bits.dtype.type(1):
            count += 1
        zeros[row] = uint8(count)


@njit(cache=True, nogil=True)
def count_tops(bits, low, stride, counts):
    """Adds the tops of every stride-th value to counts, uint32."""
    mask = counts.size - 1
    for i in range(0, bits.size, stride):
        counts[(bits[i] >> bits.dtype.type(low)) & mask] += 1


@njit(cache=True, nogil=True)
def best_window(counts, size):
    """Where the `size` neighbouring tops begin that have most of the counts; of several such, about the middle."""
    held = uint64(0)
    for i in range(min(size, counts.size)):
        held += counts[i]
    most, first, last = held, 0, 0
    for i in range(1, counts.size - size + 1):
        held = held + counts[i + size - 1] - counts[i - 1]
        if held > most:
            most, first = held, i
        if held == most:
            last = i
    return (first + last) // 2


@njit(cache=True, nogil=True)
def rank_rows(sums, length, count, fine, most, levels):
    """The scale of each row in quarters of an octave, from the lowest; rows too far from the mean for `most` levels get
    the nearest. fine: the bits of the mantissa in a top. Returns how many levels there are.
    """
    total = 0
    for row in range(sums.size):
        size = min(length, count - row * length) << fine
        levels[row] = (4 * np.int64(sums[row]) + size // 2) // size
        total += levels[row]
    low = total // sums.size - most // 2
    least, highest = most, 0
    for row in range(sums.size):
        levels[row] = min(max(levels[row] - low, 0), most - 1)
        least, highest = min(least, levels[row]), max(highest, levels[row])
    for row in range(sums.size):
        levels[row] -= least
    return highest - least + 1


@njit(cache=True, nogil=True)
def stretch_bytes(count, width):
    """Bytes of the planes of so many values of `width` bits."""
    size = count * (width >> 3)
    for plane in (4, 2, 1):
        if width & plane:
            size += (count * plane + 7) >> 3
    return size


@njit(cache=True, nogil=True)
def rest_bytes(count, length, low, zeros):
    """Bytes of all planes of `count` values in rows."""
    size = 0
    for row in range(zeros.size):
        left = min(length, count - row * length)
        width = 1 + low - zeros[row]
        size += (left // STRETCH) * stretch_bytes(STRETCH, width) + stretch_bytes(left % STRETCH, width)
    return size


@njit(cache=True, nogil=True)
def check_rows(count, length, low, zeros, tables, number):
    """`rest_bytes`, or -1 if a row has more than `low` zero bits, or a table that is not below `number`."""
    for row in range(zeros.size):
        if zeros[row] > low or tables[row] >= number:
            return -1
    return rest_bytes(count, length, low, zeros)


@njit(cache=True, nogil=True)
def split(bits, length, low, base, zeros, symbols, rest):
    """Fills the symbols (uint8: top - base + 1, 0 where that is not 1 to 255) and the planes of the rest."""
    one = bits.dtype.type(1)
    sign = bits.dtype.type(8 * bits.itemsize - 1)
    size, shift, first = bits.dtype.type((one << sign) - one), bits.dtype.type(low), bits.dtype.type(one - base)
    limit = bits.dtype.type(255)
    kept = np.empty(STRETCH, bits.dtype)
    at = uint64(0)
    for row in range(zeros.size):
        zero, place = bits.dtype.type(zeros[row]), bits.dtype.type(low - zeros[row])
        mask = bits.dtype.type((one << place) - one)
        end = uint64(min((row + 1) * length, bits.size))
        start = uint64(row * length)
        while start < end:
            count = min(uint64(STRETCH), end - start)
            for i in range(count):
                symbol = plus(down(bits_and(bits[start + i], size), shift), first)
                symbols[start + i] = uint8(symbol) if symbol <= limit else uint8(0)
            for i in range(count):
                value = bits[start + i]
                kept[i] = bits_or(up(down(value, sign), place), bits_and(down(value, zero), mask))
            at = write_planes(kept, count, 1 + low - zeros[row], rest, at)
            start += count


@njit(cache=True, nogil=True)
def write_planes(kept, count, width, out, at):
    """Writes the planes of `count` values of `width` bits from out[at] on; returns where they end."""
    shift = kept.dtype.type(0)
    for _ in range(width >> 3):
        for i in range(count):
            out[at + i] = uint8(down(kept[i], shift))
        at += count
        shift = kept.dtype.type(shift + 8)
    for size in (4, 2, 1):
        if width & size:
            apart = (count * uint64(size) + uint64(7)) >> uint64(3)
            mask = uint8((1 << size) - 1)
            for part in range(8 // size):
                start, place = uint64(part) * apart, uint8(part * size)
                for i in range(min(apart, count - min(start, count))):
                    piece = up(bits_and(uint8(down(kept[start + i], shift)), mask), place)
                    out[at + i] = piece if part == 0 else bits_or(out[at + i], piece)
            at += apart
            shift = kept.dtype.type(shift + size)
    return at


@njit(cache=True, nogil=True)
def join(symbols, rest, at, length, low, base, zeros, rare, found, bits):
    """The inverse of `split`, planes from rest[at] on; the tops of symbols 0 are rare[found] and those behind it.

    Returns where it has come to in both.
    """
    one = bits.dtype.type(1)
    sign = bits.dtype.type(8 * bits.itemsize - 1)
    shift, first = bits.dtype.type(low), bits.dtype.type(base - 1)
    kept = np.empty(STRETCH, bits.dtype)
    at = uint64(at)
    for row in range(zeros.size):
        zero, place = bits.dtype.type(zeros[row]), bits.dtype.type(low - zeros[row])
        mask = bits.dtype.type((one << place) - one)
        end = uint64(min((row + 1) * length, bits.size))
        start = uint64(row * length)
        while start < end:
            count = min(uint64(STRETCH), end - start)
            at = read_planes(rest, at, 1 + low - zeros[row], kept, count)
            least = uint8(255)
            for i in range(count):
                least = min(least, symbols[start + i])
                value = bits_or(up(down(kept[i], place), sign), up(bits_and(kept[i], mask), zero))
                top = plus(bits.dtype.type(symbols[start + i]), first)
                bits[start + i] = bits_or(value, up(top, shift))
            if least == uint8(0):
                for i in range(count):
                    if symbols[start + i] == uint8(0):
                        value = ((kept[i] >> place) << sign) | ((kept[i] & mask) << zero)
                        top = bits.dtype.type(rare[found]) if found < rare.size else bits.dtype.type(0)
                        bits[start + i] = value | (top << shift)
                        found += 1
            start += count
    return at, found


@njit(cache=True, nogil=True)
def read_planes(data, at, width, kept, count):
    """The inverse of `write_planes`; returns where the planes end."""
    shift = kept.dtype.type(0)
    for _ in range(width >> 3):
        for i in range(count):
            piece = up(kept.dtype.type(data[at + i]), shift)
            kept[i] = bits_or(kept[i], piece) if shift else piece
        at += count
        shift = kept.dtype.type(shift + 8)
    for size in (4, 2, 1):
        if width & size:
            apart = (count * uint64(size) + uint64(7)) >> uint64(3)
            mask = uint8((1 << size) - 1)
            for part in range(8 // size):
                start, place = uint64(part) * apart, uint8(part * size)
                for i in range(min(apart, count - min(start, count))):
                    piece = up(kept.dtype.type(bits_and(down(data[at + i], place), mask)), shift)
                    kept[start + i] = bits_or(kept[start + i], piece) if shift else piece
            at += apart
            shift = kept.dtype.type(shift + size)
    return at
