"""Mixed text gives strings back bit for bit, always as the same bytes, and refuses what it cannot have written."""

from __future__ import annotations

import hashlib
import lzma
from pydoc_data.topics import topics

import numpy as np
import pytest
from columns import known_codes
from hypothesis import example, given, settings
from hypothesis import strategies as st
from strategies import string_streams

from mdlake.coding.text_mixing import PARENTS, TextMixing, histories, rarest, words
from mdlake.encodings.facts import Facts
from mdlake.encodings.known import Known
from mdlake.encodings.protocol import Shape
from mdlake.encodings.text_mixed import ALONE, MixedText
from mdlake.errors import CorruptError, MdlakeError, TruncatedError
from mdlake.kernels import range_coder
from mdlake.kernels import text_mixing as kernel
from mdlake.streams import Kind, Strings, same
from mdlake.wire import Reader, Writer

NOTHING = np.zeros((1 << 16, 0), np.uint32)


def strings_of(values: list[bytes]) -> Strings:
    return Strings.of(np.array([len(value) for value in values], np.int64), np.frombuffer(b"".join(values), np.uint8))


def lines(count: int) -> Strings:
    places = [b"/usr/share/doc/package-%d/file%03d.txt" % (i // 7, i * 37 % 211) for i in range(count)]
    return strings_of(places)


def written(step: MixedText) -> bytes:
    writer = Writer()
    step.write(writer)
    return writer.getvalue()


def decoded(data: bytes, shape: Shape, known: Known | None = None) -> Strings:
    reader = Reader(data)
    step = MixedText.read(reader, shape)
    if reader.remaining:
        raise CorruptError("bytes are left over")
    again = step.decode((), shape, known)
    assert isinstance(again, Strings)
    return again


def encoded(strings: Strings, known: Known | None = None, **fields: object) -> bytes | None:
    step = MixedText(**fields).encode(strings, known)  # type: ignore[arg-type]
    return written(step[0]) if step else None


@given(strings=string_streams(min_size=1))
@example(strings=strings_of([b""]))
@example(strings=strings_of([b""] * 1000))
@example(strings=strings_of([bytes(range(256)) * 3, b"", bytes(range(255, -1, -1))]))
@example(strings=strings_of([b"a" * 200_000]))
@example(strings=strings_of([bytes([i % 251 for i in range(3000)]), b"\xff" * 300]))
@settings(max_examples=60, deadline=None)
def test_strings_come_back(strings: Strings) -> None:
    data = encoded(strings)
    assert data is not None
    assert same(decoded(data, Shape.of(strings)), strings)


def test_arbitrary_bytes_come_back_and_take_little_more() -> None:
    generator = np.random.default_rng(3)
    strings = Strings.of(generator.integers(0, 60, 1000), np.zeros(0, np.uint8))
    strings = Strings(strings.offsets, generator.integers(0, 256, int(strings.offsets[-1])).astype(np.uint8))
    data = encoded(strings)
    assert data is not None and len(data) < 1.05 * (len(strings.data) + len(strings))
    assert same(decoded(data, Shape.of(strings)), strings)


@given(strings=string_streams(min_size=1), seed=st.integers(0, 1000), parents=st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_strings_come_back_beside_parents(strings: Strings, seed: int, parents: int) -> None:
    known = known_codes(np.random.default_rng(seed).integers(0, 5, (len(strings), parents)).astype(np.uint32))
    contexts = (*ALONE[:4], *((0, PARENTS + j) for j in range(parents)), (12, PARENTS, PARENTS + parents - 1))
    data = encoded(strings, known, contexts=contexts)
    assert data is not None
    assert same(decoded(data, Shape.of(strings), known), strings)
    with pytest.raises(CorruptError, match="asks for parent"):
        decoded(data, Shape.of(strings))


def test_a_parent_that_determines_the_strings_makes_them_free() -> None:
    codes = np.random.default_rng(5).integers(0, 300, 6000).astype(np.uint32)
    names = [b"%x" % (int(code) * 0x9E3779B97F4A7C15 % (1 << 64)) for code in range(300)]
    strings = strings_of([names[code] for code in codes])
    known = known_codes(codes[:, None])
    (proposal,) = MixedText.propose(Facts(strings.slice(0, 600), 6000, known.stretches([0], 600)))
    beside, alone = encoded(strings, known, contexts=proposal.contexts), encoded(strings)
    assert beside is not None and alone is not None
    assert len(beside) < 0.75 * len(alone)


@pytest.mark.parametrize("strings", [lines(12), strings_of([b""] * 5), strings_of([b"\0\1" * 20, bytes(range(256))])])
def test_damaged_bytes_raise_or_give_strings_of_the_shape(strings: Strings) -> None:
    data, shape = encoded(strings), Shape.of(strings)
    assert data is not None
    for position in range(len(data)):
        for damaged in (data[:position], *(_flipped(data, position, bit) for bit in range(8))):
            try:
                again = decoded(damaged, shape)
            except (CorruptError, TruncatedError):
                continue
            assert len(again) == len(strings) and len(again.data) == len(strings.data)
            assert bool(np.all(again.lengths >= 0)) and int(again.offsets[-1]) == len(again.data)


def _flipped(data: bytes, position: int, bit: int) -> bytes:
    damaged = bytearray(data)
    damaged[position] ^= 1 << bit
    return bytes(damaged)


@given(payload=st.binary(max_size=80), count=st.integers(1, 50), text=st.integers(0, 500))
@settings(max_examples=100, deadline=None)
def test_a_hostile_payload_raises_or_gives_strings_of_the_shape(payload: bytes, count: int, text: int) -> None:
    data = written(MixedText(data=bytes([len(payload) % 128]) + payload))
    try:
        again = decoded(data, Shape(Kind.STRINGS, count, text))
    except MdlakeError:
        return
    assert len(again) == count and len(again.data) == text


@pytest.mark.parametrize("change", [(1, 0), (0, 1), (-1, 0), (0, -1), (0, 1 << 24), (1 << 20, 0)])
def test_another_shape_is_refused(change: tuple[int, int]) -> None:
    strings = lines(30)
    data = encoded(strings)
    assert data is not None
    with pytest.raises(MdlakeError):
        decoded(data, Shape(Kind.STRINGS, 30 + change[0], len(strings.data) + change[1]))


@pytest.mark.parametrize(
    "fields",
    [
        {"limit": 0},
        {"limit": 1024},
        {"contexts": ()},
        {"contexts": ((0,),) * (kernel.MAX_CONTEXTS + 1)},
        {"contexts": ((0,) * 5,)},
    ],
)
def test_fields_that_no_encoder_writes_are_refused(fields: dict[str, object]) -> None:
    data = written(MixedText(**fields))  # type: ignore[arg-type]
    with pytest.raises(CorruptError):
        MixedText.read(Reader(data), Shape(Kind.STRINGS, 3, 3))
    for shape in (Shape(Kind.U8, 3), Shape(Kind.STRINGS, 0), Shape(Kind.STRINGS, 1 << 31)):
        with pytest.raises(CorruptError):
            MixedText.read(Reader(written(MixedText())), shape)


def test_the_bytes_never_change() -> None:
    contexts = ((), (0,), (1,), (2,), (3,), (0, 6), (0, 6, 7, 8), (0, 10, 11), (9,))
    data = encoded(lines(400), contexts=contexts)
    assert data is not None
    assert (len(data), hashlib.sha256(data).hexdigest()[:32]) == (334, "719155c50e8a05ca910a1686cf6af8cd")


def test_histories_fit_a_byte_and_lead_to_each_other() -> None:
    following, meanings = histories()
    reached = np.unique(following)
    assert len(reached) > 200 and int(reached.max()) < 255
    assert (meanings[following[1]] >= meanings[following[0]]).all()
    assert words()[ord("a")] == words()[ord("A")] == ord("a") and not words()[ord("/")]


def test_the_kernel_stays_in_bounds() -> None:
    """The same code as Python, where an index beyond an array raises."""
    strings = lines(6)
    compiled = TextMixing(ALONE, rarest(strings.data)).encode(strings, NOTHING[:6])
    with pytest.MonkeyPatch.context() as patch, np.errstate(over="ignore"):
        for module in (kernel, range_coder):
            for name, function in vars(module).copy().items():
                if hasattr(function, "py_func"):
                    patch.setattr(module, name, function.py_func)
        assert TextMixing(ALONE, rarest(strings.data)).encode(strings, NOTHING[:6]) == compiled


def test_manuals_take_far_less_than_with_lzma() -> None:
    text = "\n".join(topics[name] for name in sorted(topics)).encode()[:300_000].split(b"\n")
    strings = strings_of(text)
    data = encoded(strings)
    assert data is not None
    assert len(data) < 0.8 * len(lzma.compress(b"\n".join(text), preset=9))
    (proposal,) = MixedText.propose(Facts(strings.slice(0, 1000), len(strings)))
    assert 0.7 * len(data) < proposal.estimate(Facts(strings.slice(0, 1000), len(strings))) < 1.5 * len(data)
