"""Entropy coders: symbols to bytes and back, each in a file of its own, all with one surface (`Coder`).

| name    | what                                            | model                                  |
|---------|-------------------------------------------------|----------------------------------------|
| raw     | bytes as they are                               | none                                   |
| rans    | asymmetric numeral systems, interleaved lanes   | static frequencies (`frequencies`)     |
| range   | binary arithmetic coding                        | adaptive, order 0 or 1 (`adaptive`)    |
| zstd    | Zstandard                                       | its own                                |

A new coder is a frozen dataclass with `encode` and `decode`, and a line in `CODERS`.
"""

from mdlake.coding.coder import Coder
from mdlake.coding.range import RangeCoder
from mdlake.coding.rans import RansCoder
from mdlake.coding.raw import RawCoder
from mdlake.coding.zstd import ZstdCoder

CODERS: dict[str, Coder] = {
    coder.name: coder for coder in (RawCoder(), RansCoder(), RangeCoder(), ZstdCoder())
}

__all__ = ["CODERS", "Coder", "RangeCoder", "RansCoder", "RawCoder", "ZstdCoder"]
