"""A block: one array, coded; the one format of mdlake's own. Specified byte for byte in `schemas/FORMAT.md`.

A block is self-describing (which chains of encodings, which parameters, how many values) and checksummed. The
Arrow type is not in it: the container (manifest or artifact) has that. Nothing in a block is believed: the checksum
comes first, sizes are counted before they are allocated, and whatever is wrong raises one of the four kinds of
`mdlake.errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mdlake.checksum import crc32
from mdlake.columns import flatten, rebuild
from mdlake.encodings import LEAVES, STEPS, Encoding
from mdlake.encodings.chain import Budget, Chain, read_chain
from mdlake.encodings.coded import FastZstd, Huffman, Lzw, Rans, RansOrder1, SwiftZstd, Zstd
from mdlake.encodings.known import NO_HINTS, Hints, Known, Parent
from mdlake.encodings.matrices import Matrices
from mdlake.encodings.partition import Partition
from mdlake.encodings.plain import Constant, Plain
from mdlake.encodings.predicted import Predicted
from mdlake.encodings.protocol import Shape
from mdlake.errors import CorruptError, InvalidArgumentError, TruncatedError, UnsupportedVersionError
from mdlake.search import Effort, Searched, encode_so, shortest
from mdlake.streams import Kind, Stream, kind_of, numbers
from mdlake.wire import Reader, Writer

MAGIC = b"MDLB"
VERSION = 2
READABLE = 1, 2
HEADER_SIZE = len(MAGIC) + 1 + 4
MAX_PARENTS = 64
MAX_BYTES = 1 << 32
"""The memory that decoding one block may take unless the caller says otherwise."""

_STATIC: tuple[type[Encoding], ...] = (Plain, Constant, Rans, RansOrder1)
_MIXED = tuple(step for step in STEPS if step is not Partition)
_ADAPTIVE = tuple(leaf for leaf in LEAVES if leaf not in (Huffman, Lzw))
_QUICK = tuple(step for step in STEPS if step is not Predicted)
_EFFORTS = {
    "fast": Effort((*_STATIC, FastZstd), _QUICK, (FastZstd, Plain), depth=2, sample=4096, keep=1),
    "default": Effort((*_STATIC, SwiftZstd), _QUICK, (SwiftZstd, Plain), depth=2, sample=8192, keep=2),
    "max": Effort(_ADAPTIVE, _MIXED, (Zstd, Plain), depth=2, sample=16384, keep=2),
}
EFFORTS = tuple(_EFFORTS)
CODERS = tuple(leaf.name for leaf in LEAVES if leaf not in (Plain, Constant, Matrices))
Watch = Callable[[Searched], None]


@dataclass(frozen=True)
class Beside:
    """What an array is coded with: the columns that its reader decodes first, by number, and what to try with them."""

    columns: tuple[int, ...]
    parents: tuple[Parent, ...]
    hints: Hints = NO_HINTS

    def known(self, count: int) -> Known:
        return Known(self.parents, count, None, self.hints)


@dataclass(frozen=True)
class StreamDescription:
    """One stream of a block: its role in the column, how it is coded, and its bytes before and after."""

    role: str
    chain: str
    count: int
    plain_bytes: int
    encoded_bytes: int


@dataclass(frozen=True)
class BlockDescription:
    """What is in a block, the CRC-32 in its header, and the columns that have to be decoded before it."""

    length: int
    crc32: int
    parents: tuple[int, ...]
    streams: tuple[StreamDescription, ...]

    @property
    def chain(self) -> str:
        """The chain of the stream that takes most of the block."""
        return max(self.streams, key=lambda s: s.encoded_bytes).chain if self.streams else "empty"


def encode_array(
    array: pa.Array,
    effort: str = "default",
    coders: tuple[str, ...] | None = None,
    beside: Beside | None = None,
    path: Sequence[Encoding] = (),
    watch: Watch | None = None,
) -> bytes:
    """One Arrow array of any type that Parquet can carry, as a block. Deterministic.

    Args:
        effort: one of `EFFORTS`: how hard to search.
        coders: the entropy coders that may be used (names of `CODERS`); None: those of the effort.
        beside: columns of the same rows that a reader will have; None: the block can be read alone.
        path: how a chain for the values may begin, where the caller knows what they are; tried beside the search.
        watch: is told of each stream what was searched and found.

    Raises:
        InvalidArgumentError: an unknown effort or coder, or a type that no block can hold.
    """
    chosen, chains, valid = _effort(effort, coders), [], np.ones(len(array), bool)
    known = beside.known(len(array)) if beside else None
    for role, stream in flatten(array):
        steps = path if role == "values" else ()
        around = _known_for(role, len(stream), known, valid)
        tried: list[Chain] | None = [] if watch else None
        chain = shortest(stream, chosen, around, steps, tried)
        if watch and tried:
            columns = beside.columns if beside else ()
            watch(Searched(role, stream, chosen, around, columns, tuple(steps), chain, tuple(tried)))
        chains.append((Shape.of(stream), chain))
        valid = numbers(stream).view(bool) if role == "validity" else valid
    needed = frozenset[int]().union(*(chain.needs for _, chain in chains))
    return assemble(len(array), chains, beside.columns[: max(needed) + 1] if beside and needed else ())


def encode_values(values: np.ndarray, effort: str = "default", coders: tuple[str, ...] | None = None) -> bytes:
    """One 1-D numpy array (int, uint, float16/32/64) as a block; every bit comes back.

    Raises:
        InvalidArgumentError: an unknown effort or coder, another dtype, or more than one dimension.
    """
    if values.ndim != 1:
        raise InvalidArgumentError(f"a block holds one dimension, not {values.ndim}; ravel the array first")
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return assemble(len(values), [(Shape.of(native), shortest(native, _effort(effort, coders)))])


def encode_with(values: np.ndarray, step: Encoding, effort: str = "default") -> bytes:
    """One 1-D numpy array as a block whose chain begins with this step; what that leaves is searched.

    Raises:
        InvalidArgumentError: the step does not take these values, or as `encode_values`.
    """
    if values.ndim != 1:
        raise InvalidArgumentError(f"a block holds one dimension, not {values.ndim}; ravel the array first")
    native = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    chain = encode_so(step, native, _effort(effort, None), None)
    if chain is None:
        raise InvalidArgumentError(f"{step.name} does not take {len(values)} values of {values.dtype} as it was set up")
    return assemble(len(values), [(Shape.of(native), chain)])


def decode_array(
    data: bytes | memoryview,
    type: pa.DataType,
    *,
    length: int,
    crc32: int | None = None,
    parents: Mapping[int, Parent] | None = None,
    max_bytes: int = MAX_BYTES,
) -> pa.Array:
    """The array of `length` values of `type` that `encode_array` was given.

    Args:
        crc32: the checksum that this very block must have, where the container knows it.
        parents: the columns that the block was coded with, by number.

    Raises:
        CorruptError, TruncatedError, UnsupportedVersionError: the bytes are not such a block.
    """
    columns, chains = _read(data, length, max_bytes, crc32)
    streams = _Streams(chains, _known_of(columns, parents or {}, length), length)
    array = rebuild(type, length, streams)
    streams.finish()
    return array


def decode_values(
    data: bytes | memoryview,
    *,
    dtype: np.dtype | type,
    length: int,
    crc32: int | None = None,
    max_bytes: int = MAX_BYTES,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """The array of shape [length] that `encode_values` was given; raises as `decode_array`.

    Args:
        out: of that shape and dtype, contiguous: it is filled and given back. After an error it may have been filled
            in part.
    """
    if out is not None and (out.dtype != dtype or out.shape != (length,) or not out.flags.c_contiguous):
        want = f"contiguous {np.dtype(dtype)} of shape ({length},)"
        raise InvalidArgumentError(f"out is {out.dtype} of shape {out.shape}, strides {out.strides}, not {want}")
    streams = _Streams(_read(data, length, max_bytes, crc32)[1], None, length)
    values = numbers(streams.take(kind_of(np.empty(0, dtype)), length, "values", out))
    streams.finish()
    return values


def describe(data: bytes | memoryview) -> BlockDescription:
    """How a block is coded, without decoding it; raises as `decode_array`."""
    crc32, reader = _open(data)
    length, parents = reader.varint(), _read_parents(data, reader)
    described = tuple(
        StreamDescription(shape.kind.name.lower(), str(chain), shape.count, shape.plain, size)
        for shape, chain, size in _chains(reader, MAX_BYTES)
    )
    return BlockDescription(length, crc32, parents, described)


def read_chains(data: bytes | memoryview) -> tuple[tuple[int, ...], list[tuple[Chain, int]]]:
    """The columns that have to be decoded before a block, and for each stream its chain and its bytes, undecoded.

    Raises as `decode_array`.
    """
    reader = _open(data)[1]
    reader.varint()
    return _read_parents(data, reader), [(chain, size) for _, chain, size in _chains(reader, MAX_BYTES)]


def _effort(name: str, coders: tuple[str, ...] | None) -> Effort:
    if name not in _EFFORTS:
        raise InvalidArgumentError(f"effort {name!r} is unknown; choose one of {', '.join(EFFORTS)}")
    effort = _EFFORTS[name]
    if coders is None:
        return effort
    if unknown := set(coders) - set(CODERS):
        raise InvalidArgumentError(f"coder {sorted(unknown)[0]!r} is unknown; choose of {', '.join(CODERS)}")
    chosen = tuple(leaf for leaf in LEAVES if leaf.name in coders)
    always = tuple(leaf for leaf in effort.always if leaf is Plain or leaf.name in coders)
    return replace(effort, leaves=(Plain, Constant, *chosen), always=always)


def assemble(length: int, chains: Iterable[tuple[Shape, Chain]], parents: tuple[int, ...] = ()) -> bytes:
    """The block of `length` values whose streams have these shapes and are coded by these chains."""
    body = Writer()
    body.varint(length)
    body.varint(len(parents))
    for column in parents:
        body.varint(column)
    for shape, chain in chains:
        body.byte(shape.kind)
        body.varint(shape.count)
        if shape.kind is Kind.STRINGS:
            body.varint(shape.text)
        chain.write(body)
    checksum = 0
    for part in body.parts():
        checksum = crc32(part, checksum)
    return b"".join((MAGIC, bytes([VERSION]), checksum.to_bytes(4, "little"), *body.parts()))


def _open(data: bytes | memoryview) -> tuple[int, Reader]:
    """The checksum and a reader of the body, after magic, version and checksum have been checked."""
    view = memoryview(data).cast("B")
    if len(view) < HEADER_SIZE:
        raise TruncatedError(f"a block has at least {HEADER_SIZE} bytes, found {len(view)}; fetch the object again")
    if view[:4] != MAGIC:
        raise CorruptError(f"expected the magic {MAGIC!r}, found {bytes(view[:4])!r}; this is no block")
    if view[4] not in READABLE:
        raise UnsupportedVersionError(
            f"block format version {view[4]} is not 1 to {VERSION}; a newer mdlake may read it"
        )
    expected, found = int.from_bytes(view[5:HEADER_SIZE], "little"), crc32(view[HEADER_SIZE:])
    if expected != found:
        raise CorruptError(f"checksum {found:08x} is not {expected:08x}: the block is damaged or cut")
    return expected, Reader(view[HEADER_SIZE:])


def _chains(reader: Reader, max_bytes: int) -> Iterable[tuple[Shape, Chain, int]]:
    budget = Budget.of(max_bytes)
    while reader.remaining:
        start = reader.remaining
        number = reader.byte()
        try:
            kind = Kind(number)
        except ValueError:
            raise CorruptError(f"a stream is of unknown kind {number}") from None
        count = reader.varint()
        shape = Shape(kind, count, reader.varint() if kind is Kind.STRINGS else 0)
        chain = read_chain(reader, shape, budget)
        yield shape, chain, start - reader.remaining


def _read(
    data: bytes | memoryview, length: int, max_bytes: int, crc32: int | None = None
) -> tuple[tuple[int, ...], list[tuple[Shape, Chain]]]:
    """The parents' numbers, and the chains of the streams."""
    found_crc32, reader = _open(data)
    if crc32 not in (None, found_crc32):
        raise CorruptError("this block is not the one that its container names")
    found = reader.varint()
    if found != length:
        raise CorruptError(f"the block holds {found} values, expected {length}")
    parents = _read_parents(data, reader)
    return parents, [(shape, chain) for shape, chain, _ in _chains(reader, max_bytes)]


def _read_parents(data: bytes | memoryview, reader: Reader) -> tuple[int, ...]:
    if memoryview(data)[4] == 1:
        return ()
    count = reader.varint()
    if count > MAX_PARENTS:
        raise CorruptError(f"a block has {count} parents, more than {MAX_PARENTS}")
    return tuple(reader.varint() for _ in range(count))


def _known_of(columns: tuple[int, ...], parents: Mapping[int, Parent], length: int) -> Known | None:
    if not columns:
        return None
    for column in columns:
        if column not in parents or len(parents[column]) != length:
            raise CorruptError(f"the block was coded with column {column}, which is not there for its {length} rows")
    return Known(tuple(parents[column] for column in columns), length)


def _known_for(role: str, count: int, known: Known | None, valid: NDArray[np.bool_]) -> Known | None:
    """What is known beside a stream: of all rows for the validity, of those that are not null for their values."""
    if known is None or "." in role:
        return None
    beside = known if role == "validity" else known.where(valid)
    return beside if beside.count == count else None


class _Streams:
    """Hands out the streams of a block in order, decoding each when it is asked for."""

    def __init__(self, chains: list[tuple[Shape, Chain]], known: Known | None, length: int) -> None:
        self._chains = chains
        self._known = known
        self._valid = np.ones(length if known else 0, bool)
        self._at = 0

    def take(self, kind: Kind, count: int | None, role: str, out: np.ndarray | None = None) -> Stream:
        if self._at >= len(self._chains):
            raise CorruptError(f"stream {role!r} is missing")
        shape, chain = self._chains[self._at]
        self._at += 1
        if shape.kind is not kind or (count is not None and shape.count != count):
            raise CorruptError(
                f"stream {role!r} holds {shape.count} of kind {shape.kind.name}, expected {count} of {kind.name}"
            )
        stream = chain.decode(shape, _known_for(role, shape.count, self._known, self._valid), out)
        if role == "validity":
            self._valid = numbers(stream) != 0
        return stream

    def finish(self) -> None:
        if self._at != len(self._chains):
            raise CorruptError(f"the block has {len(self._chains)} streams, expected {self._at}")
