"""Promise: what any coder encodes, it decodes to the same symbols of the alphabet's dtype."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdlake.coding import CODERS, Coder, RansCoder
from mdlake.coding.coder import symbol_dtype
from mdlake.errors import InvalidArgumentError

ALPHABETS = st.one_of(st.integers(1, 16), st.sampled_from([17, 255, 256, 257, 1000, 4095, 4096]))


def draw_symbols(seed: int, count: int, alphabet: int, skew: float) -> np.ndarray:
    """Geometric-like for a large skew, uniform for 0."""
    uniform = np.random.default_rng(seed).random(count)
    return np.minimum((uniform ** (1 + skew) * alphabet).astype(np.int64), alphabet - 1).astype(symbol_dtype(alphabet))


def assert_roundtrip(coder: Coder, symbols: np.ndarray, alphabet: int) -> bytes:
    payload = coder.encode(symbols, alphabet)
    decoded = coder.decode(payload, symbols.size, alphabet)
    assert decoded.dtype == symbol_dtype(alphabet)
    np.testing.assert_array_equal(decoded, symbols)
    assert coder.encode(symbols, alphabet) == payload
    np.testing.assert_array_equal(coder.decode(memoryview(payload), symbols.size, alphabet), symbols)
    return payload


@pytest.fixture(params=sorted(CODERS))
def coder(request: pytest.FixtureRequest) -> Coder:
    return CODERS[request.param]


@pytest.mark.parametrize("name", sorted(CODERS))
@settings(max_examples=40, deadline=None)
@given(
    alphabet=ALPHABETS,
    count=st.one_of(st.integers(0, 70), st.integers(0, 5000)),
    skew=st.sampled_from([0.0, 1.0, 4.0, 30.0]),
    seed=st.integers(0, 1 << 32),
)
def test_skewed_and_uniform(name: str, alphabet: int, count: int, skew: float, seed: int) -> None:
    coder = CODERS[name]
    alphabet = min(alphabet, coder.max_alphabet)
    assert_roundtrip(coder, draw_symbols(seed, count, alphabet, skew), alphabet)


@pytest.mark.parametrize("name", sorted(CODERS))
@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=300), repeats=st.integers(1, 40))
def test_bytes_with_repeats(name: str, data: bytes, repeats: int) -> None:
    assert_roundtrip(CODERS[name], np.frombuffer(data * repeats, np.uint8), 256)


@pytest.mark.parametrize("alphabet", [1, 2, 255, 256, 257, 4096])
def test_few_symbols_take_few_bytes(coder: Coder, alphabet: int) -> None:
    alphabet = min(alphabet, coder.max_alphabet)
    for value in {0, alphabet - 1}:
        for count in (0, 1, 2, 3, 64, 65, 1000):
            symbols = np.full(count, value, symbol_dtype(alphabet))
            payload = assert_roundtrip(coder, symbols, alphabet)
            assert len(payload) <= max(16, 2 * count if coder.name == "raw" else count // 6)
    assert coder.encode(np.zeros(0, symbol_dtype(alphabet)), alphabet) == b""


@pytest.mark.parametrize(("alphabet", "skew"), [(1, 0), (2, 0), (3, 30), (256, 0), (256, 5), (4096, 2)])
def test_a_million_symbols(coder: Coder, alphabet: int, skew: float) -> None:
    alphabet = min(alphabet, coder.max_alphabet)
    assert_roundtrip(coder, draw_symbols(7, 1_000_003, alphabet, skew), alphabet)


@pytest.mark.parametrize("count", [1, 8191, 100_000, 300_001, 300_032, 300_095])
def test_rans_with_any_number_of_lanes(count: int) -> None:
    """From one lane to the wide kernel, with and without a tail."""
    assert_roundtrip(RansCoder(), draw_symbols(3, count, 200, 1), 200)


def test_a_wider_dtype_and_a_view_are_fine(coder: Coder) -> None:
    symbols = np.arange(200, dtype=np.uint16)[::-3]
    assert (coder.decode(coder.encode(symbols, 256), symbols.size, 256) == symbols).all()


@pytest.mark.parametrize(
    ("symbols", "alphabet"),
    [
        (np.array([1, 5], np.uint8), 5),
        (np.array([1, 300], np.uint16), 256),
        (np.array([1], np.int64), 256),
        (np.zeros((2, 2), np.uint8), 256),
        (np.array([0], np.uint8), 0),
        (np.array([0], np.uint16), 1 << 17),
    ],
)
def test_what_no_coder_can_code_is_refused(coder: Coder, symbols: np.ndarray, alphabet: int) -> None:
    with pytest.raises(InvalidArgumentError):
        coder.encode(symbols, alphabet)
