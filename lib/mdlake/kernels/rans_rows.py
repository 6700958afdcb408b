"""Static rANS over rows, each row by one of a few tables: the loops of `mdlake.coding.rans_rows`.

Symbol i of a row belongs to lane i % lanes, so a row begins at lane 0. States are those of `kernels.rans`, of 32 bits
and renormalised by words of 16; but all lanes take their words from one stream, in the order in which a decoder asks
for them, which costs a decoder less than a stream for each. Giesen, "Interleaved entropy coders", 2014, section 4.2.

Loops over the lanes of a step are short and do one thing each, so that LLVM turns all but one into vector instructions.
"""

import numpy as np
from numba import njit, uint8, uint16, uint32, uint64

from mdlake.kernels.expanding import LANES, decode_lanes, encode_lanes
from mdlake.kernels.histogram import quantize

COMPILED_IN = "5a24649aebd512e3"

START = 1 << 16
BITS = 12
SLOTS = 1 << BITS


@njit(cache=True, nogil=True)
def count_rows(symbols, length, stride, classes, counts):
    """Adds the symbols of every stride-th row to counts[class of the row], uint32 [classes, 256].

    In four parts first, so that equal neighbours do not wait for each other.
    """
    parts = np.zeros((4, counts.shape[0], 256), np.uint32)
    for row in range(0, classes.size, stride):
        group, end = classes[row], min((row + 1) * length, symbols.size)
        whole = end - (end - row * length) % 4
        for i in range(row * length, whole, 4):
            parts[0, group, symbols[uint64(i)]] += uint32(1)
            parts[1, group, symbols[uint64(i + 1)]] += uint32(1)
            parts[2, group, symbols[uint64(i + 2)]] += uint32(1)
            parts[3, group, symbols[uint64(i + 3)]] += uint32(1)
        for i in range(whole, end):
            parts[0, group, symbols[uint64(i)]] += uint32(1)
    for part in range(4):
        counts += parts[part]


@njit(cache=True, nogil=True)
def fit_tables(counts, table_of, rare, frequencies):
    """Fills the slots of each table, frequencies int64 [tables, 256], for rows of classes that share it.

    Symbols of which there are fewer than one in 2**rare get none: symbol 0, which always has some, stands for them.
    """
    for table in range(frequencies.shape[0]):
        pooled, total = np.zeros(256, np.int64), np.int64(0)
        for group in range(table_of.size):
            if table_of[group] == table:
                for symbol in range(256):
                    pooled[symbol] += counts[group, symbol]
                    total += counts[group, symbol]
        for symbol in range(1, 256):
            if pooled[symbol] << rare < total:
                pooled[0] += pooled[symbol]
                pooled[symbol] = 0
        pooled[0] = max(pooled[0], 1)
        present = np.flatnonzero(pooled)
        slots = np.empty(present.size, np.int64)
        quantize(pooled[present], BITS, slots)
        frequencies[table, :] = 0
        for i in range(present.size):
            frequencies[table, present[i]] = slots[i]


@njit(cache=True, nogil=True)
def list_tables(frequencies, distinct, pairs):
    """Fills distinct[table] with how many symbols it has, and pairs with those skipped and the slots less one of each;
    returns how many pairs."""
    at = 0
    for table in range(frequencies.shape[0]):
        skipped, first = 0, at
        for symbol in range(256):
            if frequencies[table, symbol]:
                pairs[at, 0], pairs[at, 1] = skipped, frequencies[table, symbol] - 1
                skipped = -1
                at += 1
            skipped += 1
        distinct[table] = at - first
    return at


@njit(cache=True, nogil=True)
def unlist_tables(distinct, pairs, frequencies):
    """The inverse of `list_tables`, into zeroed frequencies; returns the largest symbol, -1 if they are no tables."""
    at, largest = 0, 0
    for table in range(distinct.size):
        symbol, slots = -1, 0
        for _ in range(distinct[table]):
            symbol += 1 + pairs[at, 0]
            slots += 1 + pairs[at, 1]
            if symbol > 255 or slots > SLOTS:
                return -1
            frequencies[table, symbol] = 1 + pairs[at, 1]
            at += 1
        if slots != SLOTS:
            return -1
        largest = max(largest, symbol)
    return largest


@njit(cache=True, nogil=True)
def fill_encode_tables(frequencies, cells):
    """cells[table * 256 + symbol] = 2**32 // frequency, in 32 bits, << 32 | (frequency - 1) << 16 | first slot.

    A symbol without slots has those of symbol 0.
    """
    for table in range(frequencies.shape[0]):
        first = 0
        for symbol in range(256):
            at = table * 256 + symbol
            frequency = frequencies[table, symbol]
            if frequency:
                reciprocal = min((np.int64(1) << 32) // frequency, (np.int64(1) << 32) - 1)
                cells[at] = (uint64(reciprocal) << uint64(32)) | uint64(((frequency - 1) << 16) | first)
                first += frequency
            else:
                cells[at] = cells[table * 256]


@njit(cache=True, nogil=True)
def fill_decode_tables(frequencies, cells):
    """cells[table << BITS | slot] = distance from the symbol's first slot << 20 | (frequency - 1) << 8 | symbol."""
    at = 0
    for table in range(frequencies.shape[0]):
        for symbol in range(256):
            frequency = frequencies[table, symbol]
            for distance in range(frequency):
                cells[at] = uint32((distance << 20) | ((frequency - 1) << 8) | symbol)
                at += 1


@njit(cache=True, nogil=True)
def encode(symbols, length, tables, cells, states, words, rare, expanding):
    """Encodes the rows backwards; their words end where `words` does. Returns where they begin.

    The places of symbols that were coded by the slots of symbol 0, which are the first, end where `rare` does, uint32;
    it returns where these begin as well. `expanding` as in `decode`.
    """
    lanes = uint64(states.size)
    expanding = expanding and lanes % uint64(LANES) == uint64(0)
    bits_left, slots = uint32(32 - BITS), uint32(SLOTS)
    found = np.empty(lanes, np.uint64)
    low, full = np.empty(lanes, np.uint16), np.empty(lanes, np.uint8)
    from_, into = uint64(symbols.ctypes.data), uint64(words.ctypes.data)
    of, all_cells = uint64(states.ctypes.data), uint64(cells.ctypes.data)
    at, last = uint64(words.size), uint64(rare.size)
    for row in range(tables.size - 1, -1, -1):
        base = uint64(tables[row]) * uint64(256)
        begin, end = uint64(row * length), uint64(min((row + 1) * length, symbols.size))
        steps = (end - begin + lanes - uint64(1)) // lanes
        while steps:
            steps -= uint64(1)
            start = begin + steps * lanes
            count = min(lanes, end - start)
            if expanding and count == lanes:
                lane = lanes
                while lane:
                    lane -= uint64(LANES)
                    some, table, to = from_ + start + lane, all_cells + uint64(8) * base, into + uint64(2) * at
                    done = encode_lanes(of + uint64(4) * lane, table, to, some)  # pyright: ignore
                    at -= done & uint64(0xFFFFFFFF)
                    missing = done >> uint64(32)
                    if missing:
                        for k in range(LANES):
                            place = uint64(LANES - 1 - k)
                            if (missing >> place) & uint64(1):
                                last -= uint64(1)
                                rare[last] = uint32(start + lane + place)
                continue
            for lane in range(count):
                found[lane] = cells[base + uint64(symbols[start + lane])]
            for lane in range(count):
                state, cell = states[lane], uint32(found[lane])
                frequency = (cell >> uint32(16)) + uint32(1)
                over = (state >> bits_left) >= frequency
                low[lane] = uint16(state)
                full[lane] = over
                state = state >> uint32(16) if over else state
                # The reciprocal is rounded down: the quotient may be one short.
                quotient = uint32((uint64(state) * (found[lane] >> uint64(32))) >> uint64(32))
                short = state - quotient * frequency >= frequency
                quotient = quotient + uint32(1) if short else quotient
                states[lane] = state + (cell & uint32(0xFFFF)) + quotient * (slots - frequency)
            for k in range(count):
                lane = count - uint64(1) - uint64(k)
                words[at - uint64(1)] = low[lane]  # overwritten by the next one unless the state was full
                at -= uint64(full[lane])
                if not found[lane] & uint64(0xFFFF):
                    last -= uint64(1)
                    rare[last] = uint32(start + lane)
    return at, last


@njit(cache=True, nogil=True)
def decode(data, at, size, length, tables, cells, states, symbols, expanding):
    """Fills the rows of symbols from data[at:size], behind which there are two bytes a lane and more.

    `expanding`: by `kernels.expanding`, where all lanes take part. Returns where it has come to, -1 if it has no more.
    """
    lanes = uint64(states.size)
    expanding = expanding and lanes % uint64(LANES) == uint64(0)
    mask, shift = uint32(SLOTS - 1), uint32(BITS)
    found, ahead, need = np.empty(lanes, np.uint32), np.empty(lanes, np.uint32), np.empty(lanes, np.uint8)
    from_, into = uint64(data.ctypes.data), uint64(symbols.ctypes.data)
    of, all_cells = uint64(states.ctypes.data), uint64(cells.ctypes.data)
    at = uint64(at)
    for row in range(tables.size):
        base = uint32(tables[row]) << shift
        end = uint64(min((row + 1) * length, symbols.size))
        start = uint64(row * length)
        while start < end:
            if at > uint64(size):
                return -1
            count = min(lanes, end - start)
            if expanding and count == lanes:
                for lane in range(uint64(0), lanes, uint64(LANES)):
                    to, table = into + start + lane, all_cells + (uint64(base) << uint64(2))
                    read = decode_lanes(of + uint64(4) * lane, table, from_ + at, to)  # pyright: ignore
                    at += uint64(2) * read
                start += count
                continue
            for lane in range(count):
                found[lane] = cells[base | (states[lane] & mask)]
            for lane in range(count):
                cell = found[lane]
                symbols[start + lane] = uint8(cell & uint32(0xFF))
                frequency = ((cell >> uint32(8)) & mask) + uint32(1)
                state = frequency * (states[lane] >> shift) + (cell >> uint32(20))
                states[lane] = state
                need[lane] = state < uint32(START)
            for lane in range(count):
                ahead[lane] = uint32(data[at]) | (uint32(data[at + uint64(1)]) << uint32(8))
                at += uint64(need[lane]) << uint64(1)
            for lane in range(count):
                state = states[lane]
                states[lane] = (state << uint32(16)) | ahead[lane] if need[lane] else state
            start += count
    return at
