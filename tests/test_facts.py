"""Facts of a sample are what counting it by other means gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdlake.coding.logarithm import sum_of_log2
from mdlake.encodings.facts import Facts
from mdlake.streams import Strings

NUMBERS = st.one_of(
    st.lists(st.integers(-(1 << 63), (1 << 63) - 1)).map(lambda v: np.array(v, np.int64)),
    st.lists(st.integers(0, (1 << 64) - 1)).map(lambda v: np.array(v, np.uint64)),
    st.lists(st.integers(-128, 127)).map(lambda v: np.array(v, np.int8)),
    st.lists(st.floats(width=32)).map(lambda v: np.array(v, np.float32)),
)


@settings(deadline=None)  # a kernel is compiled when it is first used
@given(NUMBERS)
def test_every_bit_pattern_is_counted(values: np.ndarray) -> None:
    bits = values.view(f"u{values.itemsize}")
    expected = np.unique(bits, return_counts=True)[1]
    facts = Facts(values, len(values))
    assert sorted(facts.occurrences.tolist()) == sorted(expected.tolist())
    shares = expected / max(len(values), 1)
    assert facts.entropy == facts.full_entropy == pytest.approx(-(shares * np.log2(shares)).sum(), abs=1e-9)


def test_strings_are_counted() -> None:
    data = np.frombuffer(b"aaabab", np.uint8)
    assert sorted(Facts(Strings.of(np.array([1, 1, 1, 1, 2, 0]), data), 6).occurrences.tolist()) == [1, 1, 1, 3]


def test_a_sample_expects_more_of_the_whole_than_it_has_seen() -> None:
    values = np.random.default_rng(1).integers(0, 5000, 2000).astype(np.uint16)
    facts = Facts(values, 1_000_000)
    assert facts.entropy < 10.7
    assert facts.full_entropy == pytest.approx(np.log2(5000), abs=0.2)


def test_the_logarithm_of_a_long_product_neither_vanishes_nor_overflows() -> None:
    values = np.random.default_rng(1).random(10_000).astype(np.float32) * np.float32(1e-9)
    assert sum_of_log2(values) == pytest.approx(np.log2(values.astype(np.float64)).sum(), rel=1e-9)
    assert sum_of_log2(1 / values) == pytest.approx(np.log2((1 / values).astype(np.float64)).sum(), rel=1e-9)
