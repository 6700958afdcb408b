"""Choices hang on logarithms and powers: they are right, and the same to the last bit on every machine."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mdlake.coding.logarithm import log2, power


@settings(deadline=None)
@given(st.floats(5e-324, 1.7e308))
def test_a_logarithm_is_right(value: float) -> None:
    assert math.isclose(float(log2(value)), math.log2(value), rel_tol=1e-11, abs_tol=1e-11)


@settings(deadline=None)
@given(st.floats(0, 1), st.integers(0, 100_000))
def test_a_power_is_right(base: float, exponent: int) -> None:
    assert math.isclose(power(base, exponent), base**exponent, rel_tol=1e-9, abs_tol=1e-300)


def test_the_last_bit_is_the_same_everywhere() -> None:
    found = log2([3.0, 0.1, 1e300, 0.0]).tobytes().hex()
    assert found == "22be9fa3015cf93f6fa379094f930ac0898b1a9fa0248f4000000000003091c0"
    assert np.array([power(0.999, 12345)]).tobytes().hex() == "b05894fb9123d23e"
