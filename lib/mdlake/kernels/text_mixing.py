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

from mdlake.kernels.range_coder import byte_at, finish, settled, split

COMPILED_IN = "5e4ba2cd4522d7b9"

SLOTS = 16
GROUP = 4  # lines, in one line of the processor's cache
MAX_CONTEXTS = 22
FARTHEST = 3071  # stretch
SEEN = (1 << 10) - 1
PARENTS = 13  # the first source that is one
TOKENS = 64
LONGEST = 47  # of a match, as far as it counts
SHORTEST = 5
PLACES = 16  # in a string, that weights know apart
LEVELS = 24  # of what a match is worth by its length
GROUPS = 13  # of such levels, and one for no match
MOST_A_BYTE = 20  # that the coder can make of one: nine decisions of 16 bits, and the last
RATE = 2  # of the weights
APM_WIDTH = 256
APM_STEPS = 2 * (FARTHEST + 1) // APM_WIDTH + 1
TOO_LONG = -1
TOO_SHORT = -2


@njit(cache=True, nogil=True)
def mixed_hash(hash_, value):
    x = uint32((hash_ ^ value) * uint32(0x9E3779B1))
    return uint32(x ^ (x >> uint32(15)))


@njit(inline="always")
def find_groups(lines, mask, hashes, groups, touched):
    """Where the groups of lines of each context begin. All are touched, so that memory is waited for once."""
    for k in range(groups.size):
        x = uint32(hashes[k] * uint32(0xC2B2AE35))
        x = uint32(x ^ (x >> uint32(16)))
        groups[k] = (uint64(x) & mask) * uint64(GROUP * SLOTS)
        touched[k] = lines[groups[k]]


@njit(inline="always")
def find_lines(lines, hashes, partial, groups, found):
    """Where the line of each context begins for the next four bits."""
    for k in range(found.size):
        x = uint32(uint32(hashes[k] + uint32(partial) * uint32(0x85EBCA6B)) * uint32(0x2545F491))
        found[k] = line_near(lines, groups[k] + uint64(x >> uint32(30)) * uint64(SLOTS), uint8(x >> uint32(22)))


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
def code_bit(decoding, bit, probability, low, high, code, position, coming, going):
    """One decision of the range coder: its bit, and the coder's new state."""
    middle = split(low, high, probability)
    if decoding:
        bit = int64(code <= middle)
    if bit:
        high = middle
    else:
        low = middle + uint64(1)
    while settled(low, high):
        if decoding:
            code = (code << uint64(8)) | byte_at(coming, position)
        else:
            going[position] = uint8(high >> uint64(56))
        position += 1
        low, high = low << uint64(8), (high << uint64(8)) | uint64(0xFF)
    return bit, low, high, code, position


@njit(inline="always")
def recall(lines, found, node, meanings, stretch, states, entries, says):
    """What each context says of the decision at this node of its line."""
    for k in range(found.size):
        state = lines[found[k] + node]
        states[k] = state
        entry = meanings[k, state]
        entries[k] = entry
        says[k] = stretch[entry >> uint32(20)]


@njit(inline="always")
def mixed(by_partial, partial, by_last, last, by_match, matched, says):
    """The sum of what the inputs say, by the weights of three sets together."""
    total = int64(0)
    for k in range(says.size):
        total += int64(int32(int32(by_partial[partial, k] + by_last[last, k]) + by_match[matched, k])) * says[k]
    return total


@njit(inline="always")
def correct(by_partial, partial, by_last, last, by_match, matched, says, error):
    """Moves the weights so that the error would have been smaller."""
    for k in range(says.size):
        step = int32(int32(int32(says[k] * error) + int32(0x2000)) >> 14)
        by_partial[partial, k] += step
        by_last[last, k] += step
        by_match[matched, k] += step


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
def learned(entry, bit, limit, rates):
    """A meaning after another bit."""
    seen = entry & uint32(SEEN)
    estimate = int64(entry >> uint32(10))
    estimate += ((bit * ((1 << 22) - 1) - estimate) * rates[seen]) >> 16
    return uint32(uint32(estimate) << uint32(10)) | min(seen + uint32(1), uint32(limit))


@njit(cache=True, nogil=True)
def code_text(
    decoding, text, ends, terminator, parents, contexts, limit, stretch, squash, rates, words, following,
    lines, meanings, by_partial, by_last, by_match, corrections, pair_corrections, heads, marks, coming, going,
):  # fmt: skip
    """Writes the stream of the text into `going`, or fills text and ends from the stream `coming`.

    `text` holds the strings, each with a terminator behind it, at `ends`. Returns the size of the stream; when
    decoding, how many bytes are settled, and `going` gets what the encoder would end with after them, behind their
    number; TOO_LONG if the text, or what it becomes, is larger than the array for it; TOO_SHORT if the stream ended.
    """
    count = contexts.shape[0]
    mask = uint64(lines.size // (GROUP * SLOTS) - 1)
    head_mask = uint32(heads.size - 1)
    pair_mask = int64(pair_corrections.shape[0] - 1)
    row = np.zeros(PARENTS + parents.shape[1], np.uint32)
    hashes = np.zeros(count, np.uint32)
    found = np.zeros(count, np.uint64)
    groups = np.zeros(count, np.uint64)
    touched = np.zeros(count, np.uint8)
    states = np.zeros(count + 1, np.uint8)
    entries = np.zeros(by_partial.shape[1], np.uint32)
    says = np.zeros(by_partial.shape[1], np.int32)
    says[count + 1] = 256
    token_starts = np.zeros((2, TOKENS), np.int64)
    low, high, code = uint64(0), uint64(0xFFFFFFFFFFFFFFFF), uint64(0)
    position = 0
    if decoding:
        for position in range(8):
            code = (code << uint64(8)) | byte_at(coming, position)
        position = 8
    ending = uint32(1 << 31)
    i, ended, start, node = 0, 0, 0, uint64(1)
    before, before_end, above, tokens, before_tokens = 0, -1, 0, 0, 0
    recent, older = uint32(0), uint32(0)
    word, word1, word2, prefix = uint32(0), uint32(0), uint32(0), uint32(0)
    match, length = 0, 0
    for j in range(parents.shape[1]):
        row[PARENTS + j] = parents[0, j] if ends.size else 0
    while ended < ends.size:
        if i >= text.size or (not decoding and position + MOST_A_BYTE > going.size):
            return TOO_LONG
        if decoding and position > coming.size + 8:
            return TOO_SHORT
        row[0] = recent & uint32(0xFF)
        row[1] = recent & uint32(0xFFFF)
        row[2] = recent & uint32(0xFFFFFF)
        row[3] = recent
        row[4] = older & uint32(0xFF)
        row[5] = older & uint32(0xFFFF)
        row[6] = word
        row[7] = word1
        row[8] = word2
        row[9] = uint32(min(i - start, 255))
        row[10] = uint32(text[above]) + uint32(1) if above <= before_end else uint32(0)
        row[11] = uint32(text[above + 1]) + uint32(1) if above + 1 <= before_end else uint32(0)
        row[12] = prefix
        for k in range(count):
            x = uint32(uint32(k + 1) * uint32(0x3D4D51CB))
            for m in range(contexts.shape[1]):
                if contexts[k, m] < 0:
                    break
                x = mixed_hash(x, row[contexts[k, m]])
            hashes[k] = x
        find_groups(lines, mask, hashes, groups, touched)
        expected = int64(text[match]) + 256 if length else 0
        worth = 0
        if length:
            worth = min(length, 15) if length < 16 else min(12 + (length >> 2), 23)
        place_in = min(i - start, PLACES - 1)
        byte, last = int64(text[i]), int64(row[0])
        partial = 1
        for shift in range(7, -1, -1):
            if shift == 7 or shift == 3:
                find_lines(lines, hashes, partial, groups, found)
                node = uint64(1)
            recall(lines, found, node, meanings, stretch, states, entries, says)
            guess, group = 0, 0
            if length:
                if expected >> (shift + 1) == partial:
                    guess = 2 * worth + ((expected >> shift) & 1)
                    group = 1 + (worth >> 1)
                else:
                    length = 0
            states[count] = uint8(guess)
            entries[count] = meanings[count, guess]
            says[count] = stretch[entries[count] >> uint32(20)] if guess else 0
            matched = group * PLACES + place_in
            total = mixed(by_partial, partial, by_last, last, by_match, matched, says)
            place = min(max(total >> 16, -FARTHEST), FARTHEST) + FARTHEST + 1
            step, part = place // APM_WIDTH, place % APM_WIDTH
            own = group * 256 + partial
            pair = int64(((last << 8 | partial) * 0x9E3779B1 >> 9) & pair_mask)
            corrected = corrections[own, step] * (APM_WIDTH - part) + corrections[own, step + 1] * part
            paired = pair_corrections[pair, step] * (APM_WIDTH - part) + pair_corrections[pair, step + 1] * part
            probability = (2 * int64(squash[place]) + (corrected + 5 * paired) // (APM_WIDTH << 6)) >> 3
            probability = min(max(probability, 1), 65535)
            bit, low, high, code, position = code_bit(
                decoding, (byte >> shift) & 1, probability, low, high, code, position, coming, going
            )
            truth = bit * ((1 << 22) - 1)
            nearest = step + (2 * part >= APM_WIDTH)
            corrections[own, nearest] += (truth - corrections[own, nearest]) >> 7
            pair_corrections[pair, nearest] += (truth - pair_corrections[pair, nearest]) >> 7
            truth = bit * ((1 << 16) - 1)
            error = int32(int64(truth - squash[place]) * RATE >> 4)
            correct(by_partial, partial, by_last, last, by_match, matched, says, error)
            learn(entries, bit, limit, rates)
            remember(lines, found, node, following, bit, meanings, states, entries)
            node = uint64(2) * node + uint64(bit)
            partial = 2 * partial + bit
        byte = partial - 256
        if decoding:
            text[i] = uint8(byte)
        final = False
        if byte == terminator:
            bit = int64(ends[ended] == i)
            probability = min(max(int64(ending >> uint32(16)), 1), 65535)
            bit, low, high, code, position = code_bit(
                decoding, bit, probability, low, high, code, position, coming, going
            )
            ending = learned(ending, bit, SEEN, rates)
            final = bit == 1
        older = uint32(older << uint32(8)) | (recent >> uint32(24))
        recent = uint32(recent << uint32(8)) | uint32(byte)
        folded = words[byte]
        if folded:
            word = mixed_hash(word, uint32(folded))
        elif word:
            word, word1, word2 = uint32(0), word, word1
        i += 1
        if length:
            match += 1
            length = min(length + 1, 255)
        x = mixed_hash(mixed_hash(uint32(0), recent), older & uint32(0xFFFF)) & head_mask
        if length == 0:
            match = int64(heads[x])
            if match:
                while length < LONGEST and length < match and text[match - 1 - length] == text[i - 1 - length]:
                    length += 1
                if length < SHORTEST:
                    length = 0
        heads[x] = i
        prefix = mixed_hash(prefix, uint32(byte + 1))
        above += 1
        if folded == 0:
            tokens += 1
            if tokens < TOKENS:
                token_starts[ended & 1, tokens] = i
                above = token_starts[1 - (ended & 1), tokens] if tokens <= before_tokens else before_end + 1
        if final:
            ends[ended] = i - 1
            before, before_end, before_tokens = start, i - 1, min(tokens - 1, TOKENS - 1)
            above, tokens, start = before, 0, i
            ended += 1
            marks[ended * (marks.size - 1) // ends.size] = position
            token_starts[ended & 1, 0] = start
            word, word1, word2, prefix = uint32(0), uint32(0), uint32(0), uint32(0)
            if ended < ends.size:
                for j in range(parents.shape[1]):
                    row[PARENTS + j] = parents[ended, j]
    if decoding:
        if i < text.size:
            return TOO_LONG
        going[0] = finish(low, high, going, 1) - 1
        return position - 8
    return finish(low, high, going, position)
