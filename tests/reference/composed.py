"""FORMAT.md, Composed: strings put together from parts of others and from numbers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from .numbers import evaluate, expression
from .reader import Kind, Place, Reader, Values, check

Where = tuple[int, int, int]  # how, k, byte


def where(reader: Reader) -> Where:
    how, k = reader.u8(), reader.varint(2**32 - 1)
    check(how <= 5, "place")
    return how, k, reader.u8() if how >= 2 else 0


def at(text: bytes, place: Where) -> int:
    how, k, byte = place
    if how <= 1:
        return max(len(text) - k, 0) if how else min(k, len(text))
    found = [i for i in range(len(text)) if text[i] == byte]
    if k >= len(found):
        return len(text) if how <= 3 else 0
    return (found[k] if how <= 3 else found[-1 - k]) + how % 2


def cased(part: bytes, case: int) -> bytes:
    if case == 3:
        return part[:1].upper() + part[1:].lower()
    return (part, part.lower(), part.upper())[case]


def decimal(number: int, least: int, decimals: int) -> bytes:
    digits = str(abs(number)).zfill(max(1, least, decimals + 1))
    if decimals:
        digits = digits[:-decimals] + "." + digits[-decimals:]
    return (("-" if number < 0 else "") + digits).encode()


def piece(place: Place) -> list[bytes] | None:
    """What it is in every row; None for the rest."""
    reader, role = place.reader, place.reader.u8()
    if role == 0:
        return [reader.counted()] * place.count
    if role == 1:
        parent, case, first, last = reader.varint(), reader.u8(), where(reader), where(reader)
        check(case <= 3, "case")
        return [cased(text[at(text, first) : at(text, last)], case) for text in place.strings(parent)]
    check(role in (2, 3), "role")
    if role == 3:
        return None
    least, decimals, steps = reader.u8(), reader.u8(), expression(reader)
    check(1 <= least <= 64 and decimals <= 18, "digits")
    beside = {parent: place.numbers(parent) for what, parent in steps if what == 0}
    rows = ({parent: numbers[i] for parent, numbers in beside.items()} for i in range(place.count))
    return [decimal(evaluate(steps, row), least, decimals) for row in rows]


def composed(place: Place) -> Values:
    exceptions, text, count = place.reader.varint(), place.reader.varint(), place.reader.u8()
    check(1 <= count <= 32, "pieces")
    pieces = [piece(place) for _ in range(count)]
    check(pieces.count(None) <= 1, "rests")
    rest_text = place.reader.varint() if None in pieces else 0
    gaps = place.child(Kind.U32, exceptions)
    apart: Iterator[bytes] = iter(place.child(Kind.STRINGS, exceptions, text))
    rests = place.child(Kind.STRINGS, place.count, rest_text) if None in pieces else []
    missed = {position - 1 for position in accumulate(gaps)}
    columns = [rests if column is None else column for column in pieces]
    return [next(apart) if i in missed else b"".join(c[i] for c in columns) for i in range(place.count)]
