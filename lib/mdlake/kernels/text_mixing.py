"""Text, mixed: each bit of a byte is predicted under many contexts at once, as lpaq and paq8 do.

A context has a line of SLOTS bytes for each nibble: a tag and the bit histories of the 15 decisions of four bits. A
history is a small number (how many zeros and ones, and which was last: `coding.text_mixing.histories`); what it means
is learned, for each context apart (`meanings`). The predictions, and that of the longest match, are mixed in the
logistic domain by two sets of weights that learn; two tables correct the outcome. Mahoney, "Adaptive weighing of
context models" (2005), and his lpaq and ZPAQ; contexts of falling order are those of Cleary and Witten, "Data
compression using adaptive coding and partial string matching" (1984). All in integers, so every machine computes the
same. FORMAT.md, "text_mixed", has the arithmetic.

    meaning   bits 0-9: how often used; bits 10-31: the probability of a 1, in 1 / 2**22
    stretch   ln(p / (1 - p)), in 1 / 256
    weight    in 1 / 2**16
"""

import numpy as np
from numba import int32, int64, njit, uint8, uint32, uint64

from mdlake.kernels.range_coder import code_bit, finish, first_code

COMPILED_IN = "17e156ee4b6b2fe8"

SLOTS = 16
GROUP = 8  # lines, in two lines of the processor's cache
MAX_CONTEXTS = 22
FARTHEST = 3071  # stretch
SEEN = (1 << 10) - 1
FRESH = 1 << 31
LONGEST = 47  # of a match, as far as it is checked
SHORTEST = 5
LEVELS = 24  # of what a match is worth by its length
PLACES = 16  # in a string, that weights know apart
SETS = 3 * 256 + (LEVELS // 2 + 1) * PLACES  # of weights: by the bits so far, each of two bytes, match and place
RATE = 2  # of the weights
APM_WIDTH = 256
APM_STEPS = 2 * (FARTHEST + 1) // APM_WIDTH + 1
MOST_A_BYTE = 26  # that the coder can write for one: nine decisions of 16 bits, and eight not settled before
TOO_LONG = -1
TOO_SHORT = -2

LAST, TWO, THREE, FOUR, FIFTH, SIXTH = range(6)  # sources: the bytes before
WORD, WORD_BEFORE, WORD_BEFORE_THAT = range(6, 9)
PLACE, ABOVE, ABOVE_NEXT, WHOLE = range(9, 13)
PARENTS = 13  # the first of them

TOKENS = 64
NOW, OLD, NEXT, END, COUNT, OLD_COUNT = range(6)  # how strings lie: see `step_above`


@njit(cache=True, nogil=True)
def mixed_hash(hash_, value):
    x = uint32((hash_ ^ value) * uint32(0x9E3779B1))
    return uint32(x ^ (x >> uint32(15)))


@njit(cache=True, nogil=True)
def hash_contexts(contexts, row, hashes):
    """The hash of each context: its number, and its sources."""
    for k in range(hashes.size):
        x = uint32(uint32(k + 1) * uint32(0x3D4D51CB))
        for m in range(contexts.shape[1]):
            if contexts[k, m] < 0:
                break
            x = mixed_hash(x, row[contexts[k, m]])
        hashes[k] = x


@njit(inline="always")
def find_groups(lines, mask, hashes, groups, touched):
    """Where the groups of lines of each context begin. All are touched, so that memory is waited for once."""
    for k in range(groups.size):
        x = uint32(hashes[k] * uint32(0xC2B2AE35))
        x = uint32(x ^ (x >> uint32(16)))
        groups[k] = (uint64(x) & mask) * uint64(GROUP * SLOTS)
        touched[k] = lines[groups[k]] + lines[groups[k] + uint64(GROUP * SLOTS // 2)]


@njit(inline="always")
def find_lines(lines, hashes, partial, groups, found):
    """Where the line of each context begins for the next four bits."""
    for k in range(found.size):
        x = uint32(uint32(hashes[k] + uint32(partial) * uint32(0x85EBCA6B)) * uint32(0x2545F491))
        found[k] = line_near(lines, groups[k] + uint64(x >> uint32(29)) * uint64(SLOTS), uint8(x >> uint32(21)))


@njit(cache=True, nogil=True)
def line_near(lines, first, tag):
    """The line of that tag, or one made in place of the least used of three."""
    second, third = first ^ uint64(SLOTS), first ^ uint64(2 * SLOTS)
    if lines[first] == tag:
        return first
    if lines[second] == tag:
        return second
    if lines[third] == tag:
        return third
    if lines[second + uint64(1)] < lines[first + uint64(1)]:
        first = second
    if lines[third + uint64(1)] < lines[first + uint64(1)]:
        first = third
    lines[first] = tag
    for slot in range(1, SLOTS):
        lines[first + uint64(slot)] = uint8(0)
    return first


@njit(inline="always")
def weigh(sets, a, b, c, d, weights):
    """The weights of four sets together."""
    for k in range(weights.size):
        weights[k] = int32(int32(sets[a, k] + sets[b, k]) + int32(sets[c, k] + sets[d, k]))


@njit(inline="always")
def recall(lines, found, node, meanings, stretch, states, entries, says, weights):
    """What each context says of the decision at this node of its line; returns the weighed sum."""
    total = int64(0)
    for k in range(found.size):
        state = lines[found[k] + node]
        states[k] = state
        entry = meanings[k, state]
        entries[k] = entry
        says[k] = stretch[entry >> uint32(20)]
        total += int64(weights[k]) * stretch[entry >> uint32(20)]
    return total


@njit(inline="always")
def correct(sets, a, b, c, d, says, error):
    """Moves weights so that the error would have been smaller."""
    for k in range(says.size):
        step = int32(int32(int32(says[k] * error) + int32(0x2000)) >> 14)
        sets[a, k] += step
        sets[b, k] += step
        sets[c, k] += step
        sets[d, k] += step


@njit(inline="always")
def learn(entries, bit, limit, rates):
    """Meanings after another bit."""
    truth = int32(bit * ((1 << 22) - 1))
    for k in range(entries.size):
        seen = int32(entries[k] & uint32(SEEN))
        estimate = int32(entries[k] >> uint32(10))
        estimate = int32(estimate + int32(int32(int32(int32(truth - estimate) >> 7) * rates[seen]) >> 9))
        entries[k] = uint32(uint32(estimate) << uint32(10)) | uint32(min(int32(seen + int32(1)), limit))


@njit(inline="always")
def remember(lines, found, node, following, bit, meanings, states, entries):
    """Keeps what a decision has taught."""
    for k in range(found.size):
        lines[found[k] + node] = following[bit, states[k]]
    for k in range(states.size):
        meanings[k, states[k]] = entries[k]


@njit(cache=True, nogil=True)
def step_sources(row, byte, folded):
    """The sources after a byte; `folded` is 0 if it parts words."""
    row[SIXTH] = (row[SIXTH] << uint32(8) | row[FOUR] >> uint32(24)) & uint32(0xFFFF)
    row[FIFTH] = row[SIXTH] & uint32(0xFF)
    row[FOUR] = uint32(row[FOUR] << uint32(8)) | uint32(byte)
    row[THREE] = row[FOUR] & uint32(0xFFFFFF)
    row[TWO] = row[FOUR] & uint32(0xFFFF)
    row[LAST] = row[FOUR] & uint32(0xFF)
    row[WHOLE] = mixed_hash(row[WHOLE], uint32(byte + 1))
    row[PLACE] = min(row[PLACE] + uint32(1), uint32(255))
    if folded:
        row[WORD] = mixed_hash(row[WORD], uint32(folded))
    elif row[WORD]:
        row[WORD_BEFORE_THAT] = row[WORD_BEFORE]
        row[WORD_BEFORE] = row[WORD]
        row[WORD] = 0


@njit(cache=True, nogil=True)
def step_above(text, i, parts, starts, lay, row):
    """Moves on in the string before: to its next byte or, behind what parts words, to where its next token starts.

    lay: where in the text that is; where that string and the one after it start, and where it ends; how many times
    words were parted in the string so far, and in the one before. starts: where the tokens of both start.
    """
    lay[NOW] += 1
    if parts:
        lay[COUNT] += 1
        if lay[COUNT] < TOKENS:
            starts[1, lay[COUNT]] = i
            lay[NOW] = starts[0, lay[COUNT]] if lay[COUNT] <= lay[OLD_COUNT] else lay[END] + 1
    row[ABOVE] = uint32(text[lay[NOW]]) + uint32(1) if lay[NOW] <= lay[END] else uint32(0)
    row[ABOVE_NEXT] = uint32(text[lay[NOW] + 1]) + uint32(1) if lay[NOW] < lay[END] else uint32(0)


@njit(cache=True, nogil=True)
def next_string(text, i, starts, lay, row):
    """What changes where a string starts: the one that ended is now the string before."""
    lay[OLD], lay[NEXT], lay[END] = lay[NEXT], i, i - 1
    lay[OLD_COUNT], lay[COUNT] = min(lay[COUNT] - 1, TOKENS - 1), 0
    for k in range(TOKENS):
        starts[0, k] = starts[1, k]
    lay[NOW] = lay[OLD] - 1
    step_above(text, i, False, starts, lay, row)
    for source in (WORD, WORD_BEFORE, WORD_BEFORE_THAT, PLACE, WHOLE):
        row[source] = 0


@njit(cache=True, nogil=True)
def find_match(text, i, heads, row, match, length):
    """Where the text went on when it last was as it is now, and for how many bytes it was so; a match goes on."""
    x = mixed_hash(mixed_hash(uint32(0), row[FOUR]), row[SIXTH]) & uint32(heads.size - 1)
    if length:
        match, length = match + 1, min(length + 1, 255)
    else:
        match = int64(heads[x])
        while length < min(LONGEST, match) and text[match - 1 - length] == text[i - 1 - length]:
            length += 1
        if length < SHORTEST:
            length = 0
    heads[x] = i
    return match, length


@njit(cache=True, nogil=True)
def code_text(
    decoding, text, ends, terminator, parents, contexts, limit, stretch, squash, rates, words, following,
    lines, meanings, sets, corrections, heads, marks, coming, going,
):  # fmt: skip
    """Writes the stream of the text into `going`, or fills text and ends from the stream `coming`.

    `text` holds the strings, each with a terminator behind it, at `ends`. Returns the size of the stream; when
    decoding, how many bytes are settled, and `going` gets what the encoder would end with after them, behind their
    number; TOO_LONG if the text, or what it becomes, is larger than the array for it; TOO_SHORT if the stream ended.
    """
    count = contexts.shape[0]
    mask = uint64(lines.size // (GROUP * SLOTS) - 1)
    row = np.zeros(PARENTS + parents.shape[1], np.uint32)
    hashes, groups, found = np.zeros(count, np.uint32), np.zeros(count, np.uint64), np.zeros(count, np.uint64)
    touched, states = np.zeros(count, np.uint8), np.zeros(count + 1, np.uint8)
    entries = np.zeros(sets.shape[1], np.uint32)
    weights, says = np.zeros(sets.shape[1], np.int32), np.zeros(sets.shape[1], np.int32)
    says[count + 1] = 256
    starts, lay = np.zeros((2, TOKENS), np.int64), np.zeros(6, np.int64)
    lay[END] = -1
    curve = np.zeros(APM_STEPS, np.int64)
    for step in range(APM_STEPS):
        curve[step] = int64(squash[min(step * APM_WIDTH, squash.size - 1)]) << 6
    low, high = uint64(0), uint64(0xFFFFFFFFFFFFFFFF)
    code, position = first_code(decoding, coming)
    flags = np.full(1, FRESH, np.uint32)
    i, match, length, node = 0, 0, 0, uint64(1)
    for ended in range(ends.size):
        for j in range(parents.shape[1]):
            row[PARENTS + j] = parents[ended, j]
        final = False
        while not final:
            if i >= text.size or (not decoding and position + MOST_A_BYTE > going.size):
                return TOO_LONG
            if decoding and position > coming.size + 8:
                return TOO_SHORT
            hash_contexts(contexts, row, hashes)
            find_groups(lines, mask, hashes, groups, touched)
            expected = int64(text[match]) + 256
            level = length if length < 16 else min(12 + (length >> 2), LEVELS - 1)
            byte, last, place_in = int64(text[i]), int64(row[LAST]), min(int64(row[PLACE]), PLACES - 1)
            b, c = uint64(256 + last), uint64(512 + (row[TWO] >> uint32(8)))
            partial = 1
            for shift in range(7, -1, -1):
                if shift == 7 or shift == 3:
                    find_lines(lines, hashes, partial, groups, found)
                    node = uint64(1)
                if length and expected >> (shift + 1) != partial:
                    length = 0
                guess = 2 * level + ((expected >> shift) & 1) if length else 0
                a, d = uint64(partial), uint64(768 + (1 + (level >> 1) if length else 0) * PLACES + place_in)
                weigh(sets, a, b, c, d, weights)
                total = recall(lines, found, node, meanings, stretch, states, entries, says, weights)
                states[count] = uint8(guess)
                entries[count] = meanings[count, guess]
                says[count] = stretch[entries[count] >> uint32(20)] if guess else 0
                total += int64(weights[count]) * says[count] + int64(weights[count + 1]) * says[count + 1]
                at = min(max(total >> 16, -FARTHEST), FARTHEST) + FARTHEST + 1
                step, part = at // APM_WIDTH, at % APM_WIDTH
                pair = last * 256 + partial
                corrected = corrections[pair, step] * (APM_WIDTH - part) + corrections[pair, step + 1] * part
                probability = min(max(int64(squash[at]) + (3 * corrected >> 16), 1), 65535)
                bit, low, high, code, position = code_bit(
                    decoding, (byte >> shift) & 1, probability, low, high, code, position, coming, going
                )
                nearest = step + (2 * part >= APM_WIDTH)
                truth = bit * ((1 << 22) - 1) - curve[nearest]
                corrections[pair, nearest] += (truth - corrections[pair, nearest]) >> 7
                error = int32((bit * ((1 << 16) - 1) - int64(squash[at])) * RATE >> 4)
                correct(sets, a, b, c, d, says, error)
                learn(entries, bit, limit, rates)
                remember(lines, found, node, following, bit, meanings, states, entries)
                node = uint64(2) * node + uint64(bit)
                partial = 2 * partial + bit
            byte = partial - 256
            text[i] = uint8(byte)
            if byte == terminator:
                bit = int64(ends[ended] == i)
                probability = min(max(int64(flags[0] >> uint32(16)), 1), 65535)
                bit, low, high, code, position = code_bit(
                    decoding, bit, probability, low, high, code, position, coming, going
                )
                learn(flags, bit, SEEN, rates)
                final = bit == 1
            i += 1
            parts = words[byte] == 0
            step_sources(row, byte, words[byte])
            step_above(text, i, parts, starts, lay, row)
            match, length = find_match(text, i, heads, row, match, length)
        ends[ended] = i - 1
        next_string(text, i, starts, lay, row)
        marks[(ended + 1) * (marks.size - 1) // ends.size] = position
    if decoding:
        if i < text.size:
            return TOO_LONG
        going[0] = finish(low, high, going, 1) - 1
        return position - 8
    return finish(low, high, going, position)
