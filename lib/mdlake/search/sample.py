"""A sample of a stream that keeps what encodings live on: runs, order, neighbours."""

from __future__ import annotations

import numpy as np

from mdlake.streams import Stream, Strings

CHUNKS = 16


def sample(stream: Stream, size: int) -> Stream:
    """About `size` values in `CHUNKS` evenly spaced stretches; the whole stream if it is hardly longer.

    The places depend on the length alone, so the same stream always gives the same sample.
    """
    if len(stream) <= 2 * size:
        return stream
    length = size // CHUNKS
    starts = np.linspace(0, len(stream) - length, CHUNKS).astype(np.int64)
    if isinstance(stream, np.ndarray):
        return np.concatenate([stream[start : start + length] for start in starts])
    parts = [stream.slice(start, start + length) for start in starts]
    lengths = np.concatenate([part.lengths for part in parts])
    return Strings.of(lengths, np.concatenate([part.data for part in parts]))
