"""A second decoder of blocks, written from `schemas/FORMAT.md` alone: slow, plain Python, nothing of mdlake in it.

`block` reads a block, `columns` makes a column of its streams. Integers are Python's, floats are their bit patterns,
strings are `bytes`.
"""
