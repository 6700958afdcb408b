"""Numba loops: arrays in, arrays out. No checks, no allocation policy, no imports of ours.

Every kernel trusts its arguments; the code that calls it has checked them.
"""
