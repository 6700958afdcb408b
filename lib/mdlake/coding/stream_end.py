"""Where a stream of the binary range coder ends: any bytes are the code of something, a stream cut short too, so its
size is marked before it, and its last bytes must be those that the encoder would have written.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mdlake.errors import CorruptError, TruncatedError

MARKS = 128
ENDING = 9
"""Bytes a kernel needs for how the encoder would end: their number, and up to eight."""


def mark(size: int) -> int:
    """What is kept of a stream's size: 0 to 127."""
    return size % MARKS


def marked_stream(data: bytes | memoryview, marked: int) -> NDArray[np.uint8]:
    """The stream behind the first byte.

    Raises:
        CorruptError: its size is not the one that was marked.
    """
    stream = np.frombuffer(data, np.uint8, offset=1)
    if marked != mark(stream.size):
        raise CorruptError(f"{stream.size} bytes of a range coder's stream, not {marked} mod {MARKS}")
    return stream


def check_ending(stream: NDArray[np.uint8], settled: int, ending: NDArray[np.uint8]) -> None:
    """Whether behind its `settled` bytes the stream is what the encoder would have written for what was decoded.

    Raises:
        CorruptError, TruncatedError: it is not.
    """
    end = ending[1 : 1 + ending[0]]
    size = settled + end.size
    if stream.size < size:
        raise TruncatedError(f"{stream.size} bytes of a range coder's stream of {size}")
    if stream.size > size or (stream[settled:] != end).any():
        raise CorruptError("the range coder's stream does not end as it should")
