"""Encodings: one stream becomes simpler streams, and in the end bytes.

To add one: write a frozen dataclass that satisfies `protocol.Encoding`, give it the next free number, list it here and
in `schemas/FORMAT.md`. Nothing else knows it by name. A number is never reused.
"""

from mdlake.encodings.bit_fields import BitPack, BitSplit, BytePlanes
from mdlake.encodings.buckets import Buckets
from mdlake.encodings.coded import Huffman, Lz77, Lzw, Range, Rans, RansOrder1, Zstd
from mdlake.encodings.composed import Composed
from mdlake.encodings.dictionary import Dictionary
from mdlake.encodings.fields import Fields
from mdlake.encodings.floats import Decimal, FloatBits
from mdlake.encodings.formula import Formula
from mdlake.encodings.integers import Delta, FrameOfReference, Zigzag
from mdlake.encodings.interpolated import Interpolated
from mdlake.encodings.lookup import Lookup
from mdlake.encodings.matrices import Matrices
from mdlake.encodings.mixed import Mixed
from mdlake.encodings.octaves import Octaves
from mdlake.encodings.partition import Partition
from mdlake.encodings.plain import Constant, Plain
from mdlake.encodings.predicted import Predicted
from mdlake.encodings.protocol import Encoding
from mdlake.encodings.run_length import RunLength
from mdlake.encodings.scaled import Scaled
from mdlake.encodings.split import Split
from mdlake.encodings.text import FrontCoding, Lengths
from mdlake.encodings.text_mixed import MixedText
from mdlake.encodings.weights import Weights
from mdlake.encodings.words import Words

LEAVES: tuple[type[Encoding], ...] = (
    Plain,
    Constant,
    Zstd,
    Huffman,
    Rans,
    RansOrder1,
    Range,
    Lz77,
    Lzw,
    Mixed,
    MixedText,
    Matrices,
)
STEPS: tuple[type[Encoding], ...] = (
    Delta,
    Zigzag,
    FrameOfReference,
    RunLength,
    Dictionary,
    BitPack,
    BitSplit,
    BytePlanes,
    Buckets,
    Decimal,
    FloatBits,
    Formula,
    Lookup,
    Composed,
    Partition,
    Predicted,
    Scaled,
    Octaves,
    Interpolated,
    Lengths,
    FrontCoding,
    Fields,
    Words,
    Split,
    Weights,
)
ENCODINGS: dict[int, type[Encoding]] = {encoding.id: encoding for encoding in (*LEAVES, *STEPS)}

__all__ = ["ENCODINGS", "LEAVES", "STEPS", "Encoding"]
