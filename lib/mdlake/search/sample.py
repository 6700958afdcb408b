"""A sample of a stream that keeps what encodings live on: runs, order, neighbours."""

from __future__ import annotations

import numpy as np

from mdlake.streams import Stream, Strings

CHUNKS = 16


def places(count: int, size: int) -> tuple[list[int], int]:
    """Where the stretches of a sample of `count` values start, and how long each is."""
    if count <= 2 * size:
        return [0], count
    length = size // CHUNKS
    return np.linspace(0, count - length, CHUNKS).astype(np.int64).tolist(), length


def sample(stream: Stream, size: int) -> Stream:
    """About `size` values in `CHUNKS` evenly spaced stretches; the whole stream if it is hardly longer.

    The places depend on the length alone, so the same stream always gives the same sample.
    """
    starts, length = places(len(stream), size)
    if len(starts) == 1:
        return stream
    if isinstance(stream, np.ndarray):
        return np.concatenate([stream[start : start + length] for start in starts])
    parts = [stream.slice(start, start + length) for start in starts]
    lengths = np.concatenate([part.lengths for part in parts])
    return Strings.of(lengths, np.concatenate([part.data for part in parts]))
