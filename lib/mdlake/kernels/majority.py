"""The value that most of a group have, in one pass: Boyer and Moore, "MJRTY, a fast majority vote algorithm" (1981)."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def vote(keys, ranks, winners, votes):
    """Fills winners[key]: the rank of more than half of the key's rows, if there is one; else some rank of theirs."""
    for i in range(keys.size):
        key = keys[i]
        if votes[key] == 0:
            winners[key] = ranks[i]
            votes[key] = 1
        elif winners[key] == ranks[i]:
            votes[key] += np.uint32(1)
        else:
            votes[key] -= np.uint32(1)
