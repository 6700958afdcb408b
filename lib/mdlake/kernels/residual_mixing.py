"""Logistic mixing for streams of few decisions: what is said of one is a base, and what each input adds to it.

Mahoney, "Adaptive weighing of context models" (2005), with two changes that spare a short stream the learning. An input
is the difference of a context's stretch from the base, so that a context that knows nothing says nothing; and a context
met for the first time takes what all the others said as its own. All in integers, so every machine computes the same.
FORMAT.md, "Matrices", has the arithmetic.

    counter   bits 0-9: how often seen; bits 10-31: the probability of a 1, in 1 / 2**22
    stretch   ln(p / (1 - p)), in 1 / 256
    weight    in 1 / 2**16
"""

from numba import int64, njit, uint32

SEEN = (1 << 10) - 1
FARTHEST = 3071  # stretch
NO_COUNTER = -1


@njit(inline="always")
def share(ones, cells, prior, strength):
    """The share of ones, in 1 / 2**16: as seen, and before that strength / 16 ones at the rate `prior`."""
    return min(max(((16 * ones + strength) << 16) // (16 * cells + (strength << 16) // prior), 8), 65528)


@njit(inline="always")
def known(counters, slot, stretch):
    """The stretch of a counter."""
    return int64(stretch[counters[slot] >> uint32(16)])


@njit(inline="always")
def say(counters, slot, base, stretch, trust, inputs, slots, k):
    """Input k: how a counter differs from the base, the less it has seen the less."""
    inputs[k] = ((known(counters, slot, stretch) - base) * trust[counters[slot] & uint32(SEEN)]) >> 8
    slots[k] = slot


@njit(inline="always")
def mixed(base, inputs, count, weights, one, other):
    """The stretch of the prediction by two sets of weights, added."""
    total = int64(0)
    for k in range(count):
        total += (weights[one, k] + weights[other, k]) * inputs[k]
    return min(max(base + (total >> 16), -FARTHEST), FARTHEST)


@njit(inline="always")
def squashed(z, squash):
    """The probability of a stretch, in 1 / 2**16."""
    return int64(squash[z + FARTHEST + 1])


@njit(inline="always")
def learn(counters, bit, probability, inputs, slots, count, weights, one, other, rates, limit, pace):
    """Weights and counters after a bit that was said to be 1 with this probability."""
    error = (bit * ((1 << 16) - 1) - probability) * pace
    for k in range(count):
        step = (inputs[k] * error) >> 20
        weights[one, k] += step
        weights[other, k] += step
        if slots[k] != NO_COUNTER:
            counters[slots[k]] = after(counters[slots[k]], bit, probability, rates, limit)


@njit(inline="always")
def after(counter, bit, probability, rates, limit):
    """A counter after a bit; one that is met first begins at this probability."""
    seen = int64(counter & uint32(SEEN))
    estimate = int64(counter >> uint32(10)) if seen else int64(probability) << 6
    estimate += ((bit * ((1 << 22) - 1) - estimate) * rates[seen]) >> 16
    return uint32(uint32(estimate) << uint32(10)) | uint32(min(seen + 1, limit))
