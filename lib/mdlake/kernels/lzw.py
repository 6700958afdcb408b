"""LZW as TIFF 6.0 has it: codes of 9 to 12 bits, most significant bit first, "early change".

Welch, "A technique for high-performance data compression", 1984; TIFF 6.0, section 13. Codes 0-255 are
bytes, 256 clears the table, 257 ends the stream. The encoder adds an entry with each code that it
writes; the decoder is one entry behind, and widens its codes one entry early for that reason.
"""

import numpy as np
from numba import njit

CLEAR, END, FIRST = 256, 257, 258
NARROW, FULL = 9, 4094  # the encoder clears the table when entry FULL would be next
HASH_BITS = 14


@njit(cache=True, nogil=True)
def write_code(data, position, code, width):
    """Writes at a bit position of zeroed bytes; returns the next one."""
    spare = 24 - (position & 7) - width
    value = code << spare
    at = position >> 3
    data[at] |= np.uint8(value >> 16)
    data[at + 1] |= np.uint8((value >> 8) & 255)
    data[at + 2] |= np.uint8(value & 255)
    return position + width


@njit(cache=True, nogil=True)
def find_slot(keys, key):
    """The slot of a key (prefix << 8 | byte) in the hash table, or the free one where it belongs."""
    slot = np.uint32(np.uint32(key) * np.uint32(2654435761)) >> np.uint32(32 - HASH_BITS)
    while keys[slot] >= 0 and keys[slot] != key:
        slot = (slot + np.uint32(1)) & np.uint32((1 << HASH_BITS) - 1)
    return slot


@njit(cache=True, nogil=True)
def encode(symbols, keys, codes, data):
    """Writes the stream into zeroed data (of two bytes a symbol and some) and returns its size in bits."""
    keys[:] = -1
    width, following = NARROW, FIRST
    position = write_code(data, 0, CLEAR, width)
    prefix = np.int32(symbols[0])
    for i in range(1, symbols.size):
        key = (prefix << 8) | np.int32(symbols[i])
        slot = find_slot(keys, key)
        if keys[slot] == key:
            prefix = codes[slot]
            continue
        position = write_code(data, position, prefix, width)
        keys[slot] = key
        codes[slot] = following
        following += 1
        if following == FULL:
            position = write_code(data, position, CLEAR, width)
            keys[:] = -1
            width, following = NARROW, FIRST
        elif following == 1 << width:
            width += 1
        prefix = np.int32(symbols[i])
    position = write_code(data, position, prefix, width)
    if following + 1 == FULL:  # this last code too would have made an entry
        position = write_code(data, position, CLEAR, width)
        width = NARROW
    elif following + 1 == 1 << width:
        width += 1
    return write_code(data, position, END, width)


@njit(cache=True, nogil=True)
def decode(data, symbols, starts, lengths):
    """Fills symbols; returns the size of the stream in bits, -1 if it ends early, -2 if it cannot be.

    An entry of the table is a slice of what is decoded: the string before and the byte after it.
    """
    end = data.size * 8
    width, following = NARROW, FIRST
    position, filled = 0, 0
    fresh = True
    while True:
        if position + width > end:
            return -1
        code = 0
        for at in range(position >> 3, ((position + width - 1) >> 3) + 1):
            code = (code << 8) | data[at]
        code = (code >> (-(position + width) & 7)) & ((1 << width) - 1)
        position += width
        if code == END:
            return position if filled == symbols.size else -2
        if code == CLEAR:
            width, following, fresh = NARROW, FIRST, True
            continue
        if not fresh:
            if following > FULL:
                return -2
            starts[following] = filled - lengths[FULL + 1]
            lengths[following] = lengths[FULL + 1] + 1
            following += 1
        length = 1 if code < CLEAR else lengths[code]
        if (code > END and code >= following) or length > symbols.size - filled:
            return -2
        if code < CLEAR:
            symbols[filled] = code
        else:
            for k in range(length):  # byte by byte: the slice may reach into what it is copied to
                symbols[filled + k] = symbols[starts[code] + k]
        filled += length
        lengths[FULL + 1] = length  # of the string before
        fresh = False
        if following == (1 << width) - 1 and width < 12:
            width += 1
