"""FORMAT.md, Encodings of strings: lengths, front_coding, split, Fields, Words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .reader import Kind, Place, Values, check


def lengths(place: Place) -> Values:
    sizes, text, at = place.child(place.reader.kind(), place.count), bytes(place.child(Kind.U8, place.text)), 0
    check(sum(sizes) == place.text, "lengths")
    values = []
    for size in sizes:
        values.append(text[at : at + size])
        at += size
    return values


def front_coding(place: Place) -> Values:
    kind, text = place.reader.kind(), place.reader.varint()
    shared = place.child(kind, place.count)
    values, before = [], b""
    for size, rest in zip(shared, place.child(Kind.STRINGS, place.count, text), strict=True):
        check(size <= len(before), "more shared than there is")
        before = before[:size] + rest
        values.append(before)
    return values


def split(place: Place) -> Values:
    delimiter, count = bytes([place.reader.u8()]), place.reader.u8()
    shapes = [(place.reader.varint(), place.reader.varint()) for _ in range(count)]
    pieces = place.child(Kind.U8, place.count)
    columns = [iter(place.child(Kind.STRINGS, *shape)) for shape in shapes]
    values = [delimiter.join(next(column) for column in columns[:number]) for number in pieces]
    check(all(next(column, None) is None for column in columns), "strings left over")
    return values


@dataclass(frozen=True)
class Part:
    """A part of a template: a literal, a number of some base, or a word."""

    role: int
    literal: bytes = b""
    digits: int = 0
    radix: int = 0
    kind: Kind = Kind.STRINGS
    text: int = 0

    @property
    def begins(self) -> bool:
        return self.role == 4 or (self.role in (1, 2, 3) and self.radix == 0)

    def write(self, number: int) -> bytes:
        form = {1: "d", 2: "x", 3: "X"}[self.role]
        return f"{number:0{self.digits}{form}}".encode()


def read_part(place: Place) -> Part:
    role = place.reader.u8()
    if role == 0:
        return Part(role, literal=place.reader.counted())
    if role == 4:
        return Part(role, text=place.reader.varint())
    check(role in (1, 2, 3), "role")
    digits, radix = place.reader.u8(), place.reader.varint()
    check(1 <= digits <= 64, "digits")
    return Part(role, digits=digits, radix=radix, kind=Kind.STRINGS if radix else place.reader.kind())


def fields(place: Place) -> Values:
    rest_text, templates = place.reader.varint(), []
    for _ in range(place.reader.u8()):
        count = place.reader.varint()
        templates.append((count, [read_part(place) for _ in range(place.reader.varint(255))]))
    chosen = place.child(Kind.U8, place.count)
    sources = [iter(place.child(Kind.STRINGS, chosen.count(0), rest_text))]
    sources += [written(place, count, parts) for count, parts in templates]
    values = [next(sources[number]) for number in chosen]
    check(all(next(source, None) is None for source in sources), "strings left over")
    return values


def written(place: Place, count: int, parts: list[Part]) -> Iterator[bytes]:
    """The strings of a template, from its columns, which are decoded now."""
    columns = [place.child(part.kind, count, part.text) for part in parts if part.begins]
    return iter([fill(parts, list(row)) for row in (zip(*columns, strict=True) if columns else [()] * count)])


def fill(parts: list[Part], row: Values) -> bytes:
    pieces, column = [b""] * len(parts), len(row)
    for place in reversed(range(len(parts))):
        part = parts[place]
        column -= part.begins
        if part.role == 0:
            pieces[place] = part.literal
        elif part.role == 4:
            pieces[place] = row[column]
        elif part.begins:
            pieces[place] = part.write(row[column])
        else:
            row[column - 1], digit = divmod(row[column - 1], part.radix)
            pieces[place] = part.write(digit)
    return b"".join(pieces)


def makes_words(byte: int) -> bool:
    return byte >= 128 or bytes([byte]).isalnum()


def words(place: Place) -> Values:
    tokens, text = place.reader.varint(), place.reader.varint()
    values, value, before = [], b"", False
    for token in place.child(Kind.STRINGS, tokens, text):
        if not token:
            values.append(value)
            value, before = b"", False
            continue
        value += (b" " if before and makes_words(token[0]) else b"") + token
        before = makes_words(token[-1])
    check(not value and len(values) == place.count, "tokens")
    return values
