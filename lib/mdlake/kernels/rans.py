"""Range asymmetric numeral systems (rANS), static, over interleaved lanes.

Symbol i belongs to lane i % lanes. Each lane has a 32-bit state and a stream of 16-bit words of its
own, so the lanes of one step do not wait for each other. Duda, "Asymmetric numeral systems", 2013;
Giesen, "Interleaved entropy coders", 2014.

A state x lies in [2**16, 2**32) between steps. To encode a symbol of frequency f and cumulative
frequency c (of 2**bits): if x >= f * 2**(32 - bits), move its low word out; then
x = (x // f) * 2**bits + x % f + c. Decoding runs the other way. Words are written last symbol first.

`*_lanes` takes symbol by symbol and says what happens; `*_wide` does the same for all lanes of a step at
once, in short inner loops that LLVM turns into vector instructions: loads from tables apart from
arithmetic, unsigned indices throughout. From 16 lanes on it is faster.
"""

import numpy as np
from numba import njit, uint16, uint32, uint64

START = 1 << 16


@njit(cache=True, nogil=True)
def fill_decode_table(symbols, frequencies, table):
    """table[slot] = symbol << 32 | (frequency - 1) << 16 | distance of the slot from the symbol's first."""
    slot = 0
    for i in range(symbols.size):
        for distance in range(frequencies[i]):
            cell = ((frequencies[i] - 1) << 16) | distance
            table[slot] = (uint64(symbols[i]) << uint64(32)) | uint64(cell)
            slot += 1


@njit(cache=True, nogil=True)
def fill_encode_tables(symbols, frequencies, reciprocals, ranges):
    """reciprocals[s] = 2**32 // frequency, in 32 bits; ranges[s] = (frequency - 1) << 16 | first slot."""
    first = 0
    for i in range(symbols.size):
        reciprocals[symbols[i]] = min((np.int64(1) << 32) // frequencies[i], (np.int64(1) << 32) - 1)
        ranges[symbols[i]] = ((frequencies[i] - 1) << 16) | first
        first += frequencies[i]


@njit(cache=True, nogil=True)
def encode_lanes(symbols, start, reciprocals, ranges, bits, states, words, positions):
    """Encodes symbols[start:] backwards, start at lane 0; positions are each lane's next free word."""
    lanes = states.size
    bits_left = uint32(32) - uint32(bits)
    for i in range(symbols.size - 1, start - 1, -1):
        lane = (i - start) % lanes
        state = states[lane]
        cell = ranges[symbols[i]]
        frequency = (cell >> uint32(16)) + uint32(1)
        if (state >> bits_left) >= frequency:
            words[positions[lane]] = uint16(state)
            positions[lane] -= uint32(1)
            state >>= uint32(16)
        # The reciprocal is rounded down: the quotient may be one short.
        quotient = uint32((uint64(state) * uint64(reciprocals[symbols[i]])) >> uint64(32))
        quotient += uint32(state - quotient * frequency >= frequency)
        gap = (uint32(1) << uint32(bits)) - frequency
        states[lane] = state + (cell & uint32(0xFFFF)) + quotient * gap


@njit(cache=True, nogil=True)
def encode_wide(symbols, steps, reciprocals, ranges, bits, states, words, positions):
    """Encodes the first steps * lanes symbols backwards."""
    lanes = uint64(states.size)
    bits_left = uint32(32) - uint32(bits)
    slots = uint32(1) << uint32(bits)
    reciprocal = np.empty(lanes, np.uint32)
    cells = np.empty(lanes, np.uint32)
    low = np.empty(lanes, np.uint16)
    targets = np.empty(lanes, np.uint32)
    base = uint64(steps) * lanes
    for _ in range(steps):
        base -= lanes
        row = symbols[base : base + lanes]
        for lane in range(lanes):
            symbol = row[lane]
            reciprocal[lane] = reciprocals[symbol]
            cells[lane] = ranges[symbol]
        for lane in range(lanes):
            state = states[lane]
            cell = cells[lane]
            frequency = (cell >> uint32(16)) + uint32(1)
            full = (state >> bits_left) >= frequency
            low[lane] = uint16(state)
            targets[lane] = positions[lane]
            positions[lane] = positions[lane] - (uint32(1) if full else uint32(0))
            state = state >> uint32(16) if full else state
            quotient = uint32((uint64(state) * uint64(reciprocal[lane])) >> uint64(32))
            short = state - quotient * frequency >= frequency
            quotient = quotient + uint32(1) if short else quotient
            states[lane] = state + (cell & uint32(0xFFFF)) + quotient * (slots - frequency)
        for lane in range(lanes):
            words[targets[lane]] = low[lane]  # overwritten by the next one unless the state was full


@njit(cache=True, nogil=True)
def decode_lanes(words, positions, states, table, bits, symbols, start):
    """Fills symbols[start:], start at lane 0. A lane reads at most one word a symbol, wanted or not."""
    lanes = states.size
    mask = (uint32(1) << uint32(bits)) - uint32(1)
    lane = 0
    for i in range(start, symbols.size):
        state = states[lane]
        entry = table[state & mask]
        cell = uint32(entry)
        state = ((cell >> uint32(16)) + uint32(1)) * (state >> uint32(bits)) + (cell & uint32(0xFFFF))
        need = uint32(state < uint32(START))
        word = uint32(words[positions[lane]])
        states[lane] = (state << (need << uint32(4))) | (word & (uint32(0) - need))
        positions[lane] += need
        symbols[i] = entry >> uint64(32)
        lane = lane + 1 if lane + 1 < lanes else 0


@njit(cache=True, nogil=True)
def decode_wide(words, positions, states, table, bits, symbols, steps):
    """Fills the first steps * lanes symbols."""
    lanes = uint64(states.size)
    mask = (uint32(1) << uint32(bits)) - uint32(1)
    shift = uint32(bits)
    entries = np.empty(lanes, np.uint64)
    ahead = np.empty(lanes, np.uint32)
    base = uint64(0)
    for _ in range(steps):
        row = symbols[base : base + lanes]
        base += lanes
        for lane in range(lanes):
            entries[lane] = table[states[lane] & mask]
            ahead[lane] = words[positions[lane]]
        for lane in range(lanes):
            state = states[lane]
            cell = uint32(entries[lane])
            row[lane] = entries[lane] >> uint64(32)
            state = ((cell >> uint32(16)) + uint32(1)) * (state >> shift) + (cell & uint32(0xFFFF))
            need = state < uint32(START)
            states[lane] = ((state << uint32(16)) | ahead[lane]) if need else state
            positions[lane] = positions[lane] + (uint32(1) if need else uint32(0))
