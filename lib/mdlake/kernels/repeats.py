"""How much of a stream has been seen before: what makes matching worth a trial."""

from numba import njit, uint64

GRAM = 4
TABLE_BITS = 16


@njit(cache=True, nogil=True)
def repeated(values, table):
    """How many of the runs of GRAM values (unsigned) were met before, judged by a quarter of them, those whose hash
    says so. table: int64 [2**TABLE_BITS], filled with -1."""
    found, looked = 0, 0
    x = uint64(0)
    for i in range(values.size):  # a hash of the last 16 / 4 values: older ones have been shifted out
        x = (x << uint64(16)) + (uint64(values[i]) * uint64(0x9E3779B97F4A7C15) >> uint64(48))
        mixed = x * uint64(0xC2B2AE3D27D4EB4F)
        if i < GRAM - 1 or mixed & uint64(3 << 40):
            continue
        looked += 1
        place = mixed >> uint64(64 - TABLE_BITS)
        before = table[place]
        if before >= 0:
            same = True
            for k in range(GRAM):
                same = same and values[before - k] == values[i - k]
            found += same
        table[place] = i
    return found / max(looked, 1)
