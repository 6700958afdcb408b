"""What a string may begin or end with, judged by one example: parts of another text, or a number as text.

A part is described in all ways that its two places have; which of them holds for other rows is for others to find out.
"""

from __future__ import annotations

from collections.abc import Iterator

from mdlake.compositions import Cut, Number, Piece, Place
from mdlake.expressions import Expression
from mdlake.kernels.composing import (
    AS_IS,
    BEFORE,
    BEFORE_LAST,
    BEHIND,
    BEHIND_LAST,
    CAPITAL,
    FROM_END,
    FROM_START,
    LOWER,
    UPPER,
)

_STARTS, _OFFSETS = 8, 16
"""In so many places at most a value's text is looked for in another; so many bytes are counted from an end."""


def cuts(column: int, text: bytes, value: bytes, forward: bool) -> Iterator[Piece]:
    """Parts of a text that a value begins with (or ends with)."""
    cased = {text: AS_IS}
    cased.setdefault(text.lower(), LOWER)
    cased.setdefault(text.upper(), UPPER)
    for made, case in cased.items():
        for start, stop in _spans(made, value) if forward else _mirrored(made, value):
            yield from _described(column, text, start, stop, case)
    if forward and value[:1].isupper():
        for start, stop in _spans(text.lower(), value[:1].lower() + value[1:]):
            yield from _described(column, text, start, stop, CAPITAL)


def _described(column: int, text: bytes, start: int, stop: int, case: int) -> Iterator[Cut]:
    for first in _places(text, start):
        yield from (Cut(column, first, last, case) for last in _places(text, stop))


def _spans(text: bytes, value: bytes) -> Iterator[tuple[int, int]]:
    """Where a text goes on as the value begins: two bytes or more, or one that begins a word."""
    starts: list[tuple[int, int]] = []
    at = text.find(value[:1])
    while at >= 0 and len(starts) < _STARTS:
        size = _shared(text, at, value)
        begins = at == 0 or not text[at - 1 : at].isalnum()
        if size > 1 or begins:
            starts.append((at, at + size))
        if size > 1 and begins:
            yield at, at + 1
        at = text.find(value[:1], at + 1)
    yield from starts


def _shared(text: bytes, at: int, value: bytes) -> int:
    """How many bytes from there on are those of the value."""
    low, high = 0, min(len(value), len(text) - at)
    while low < high:
        middle = (low + high + 1) // 2
        if text[at + low : at + middle] == value[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _mirrored(text: bytes, value: bytes) -> Iterator[tuple[int, int]]:
    for start, stop in _spans(text[::-1], value[::-1]):
        yield len(text) - stop, len(text) - start


def _places(text: bytes, at: int) -> Iterator[Place]:
    """The ways to describe a place in a text."""
    if at == 0:
        yield Place(FROM_START)
    if at == len(text):
        yield Place(FROM_END)
    if at > 0 and not text[at - 1 : at].isalnum():
        byte = text[at - 1]
        yield Place(BEHIND, text.count(byte, 0, at - 1), byte)
        yield Place(BEHIND_LAST, text.count(byte, at), byte)
    if at < len(text) and not text[at : at + 1].isalnum():
        byte = text[at]
        yield Place(BEFORE, text.count(byte, 0, at), byte)
        yield Place(BEFORE_LAST, text.count(byte, at + 1), byte)
    if 0 < at <= _OFFSETS:
        yield Place(FROM_START, at)
    if 0 < len(text) - at <= _OFFSETS and at > 0:
        yield Place(FROM_END, len(text) - at)


def as_text(expression: Expression, number: int, value: bytes, forward: bool) -> Iterator[Piece]:
    """Ways to write a number that a value begins with (or ends with): as it is, filled up with zeros, with a point."""
    digits = str(abs(number)).encode()
    sign = b"-" if number < 0 else b""
    if forward:
        bare = value[len(sign) :]
        zeros = len(bare) - len(bare.lstrip(b"0")) - (number == 0)
        filled = value.startswith(sign) and bare.startswith(digits, max(zeros, 0))
    else:
        before = value[: -len(digits)]
        zeros = len(before) - len(before.rstrip(b"0"))
        filled = value.endswith(digits)
    if filled and zeros >= 0:
        widths = (1, len(digits), len(digits) + zeros) if not forward or zeros == 0 else (len(digits) + zeros, 2)
        yield from (Number(expression, least) for least in dict.fromkeys(widths))
    for decimals in (1, 2, 3) if len(expression.steps) == 1 else ():
        long = digits.zfill(decimals + 1)
        written = sign + long[:-decimals] + b"." + long[-decimals:]
        if value.startswith(written) if forward else value.endswith(written):
            yield Number(expression, 1, decimals)
