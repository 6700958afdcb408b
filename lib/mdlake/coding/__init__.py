"""Entropy coders: symbols to bytes and back, each in a file of its own, all with one surface (`Coder`).

| name        | what                                           | model                               |
|-------------|------------------------------------------------|-------------------------------------|
| raw         | bytes as they are                              | none                                |
| huffman     | canonical, length-limited prefix codes         | static code lengths                 |
| rans        | asymmetric numeral systems, interleaved lanes  | static frequencies (`frequencies`)  |
| rans_order1 | the same, a lane a stretch                     | frequencies by the symbol before    |
| range       | binary arithmetic coding                       | adaptive, order 0 or 1 (`adaptive`) |
| lz77        | repeats as copies; the rest by rans or huffman | as those                            |
| lzw         | repeats as table entries, as in TIFF           | none                                |
| zstd        | Zstandard                                      | its own                             |

A new coder is a frozen dataclass with `encode` and `decode`, and a line in `CODERS`.
"""

from mdlake.coding.coder import Coder
from mdlake.coding.huffman import HuffmanCoder
from mdlake.coding.lz77 import Lz77Coder
from mdlake.coding.lzw import LzwCoder
from mdlake.coding.range import RangeCoder
from mdlake.coding.rans import RansCoder
from mdlake.coding.rans_order1 import RansOrder1Coder
from mdlake.coding.raw import RawCoder
from mdlake.coding.zstd import ZstdCoder

_ALL: tuple[Coder, ...] = (
    RawCoder(),
    HuffmanCoder(),
    RansCoder(),
    RansOrder1Coder(),
    RangeCoder(),
    Lz77Coder(),
    LzwCoder(),
    ZstdCoder(),
)
CODERS: dict[str, Coder] = {coder.name: coder for coder in _ALL}

__all__ = [
    "CODERS",
    "Coder",
    "HuffmanCoder",
    "Lz77Coder",
    "LzwCoder",
    "RangeCoder",
    "RansCoder",
    "RansOrder1Coder",
    "RawCoder",
    "ZstdCoder",
]
