"""FORMAT.md, Encodings: those of any kind and of integers that are not coders."""

from __future__ import annotations

from itertools import accumulate

from .reader import Kind, Place, Reader, Values, check, narrowest
from .zstd import unpack


def plain(place: Place) -> Values:
    return plain_values(place, place.reader)


def plain_values(place: Place, reader: Reader) -> Values:
    if place.kind is Kind.STRINGS:
        lengths = [reader.word(4) for _ in range(place.count)]
        return [reader.take(length) for length in lengths]
    return [place.kind.wrap(reader.word(place.kind.width)) for _ in range(place.count)]


def constant(place: Place) -> Values:
    value = place.reader.counted()
    if place.kind is Kind.STRINGS:
        return [value] * place.count
    check(len(value) <= place.kind.width and not value.endswith(b"\0"), "constant of another width")
    return [place.kind.wrap(int.from_bytes(value, "little"))] * place.count


def zstd(place: Place) -> Values:
    payload = place.reader.counted()
    reader = Reader(unpack(payload) if payload else b"")
    values = plain_values(place, reader)
    reader.end()
    return values


def delta(place: Place) -> Values:
    check(place.count >= 1, "delta of nothing")
    first = place.reader.varint()
    steps = place.child(place.kind.signed, place.count - 1)
    return [place.kind.wrap(value) for value in accumulate(steps, initial=first)]


def zigzag(place: Place) -> Values:
    return [c >> 1 ^ -(c & 1) for c in place.child(place.kind.unsigned, place.count)]


def frame_of_reference(place: Place) -> Values:
    base, step, kind = place.reader.zigzag(), place.reader.varint(), place.reader.kind()
    check(step >= 1, "step of zero")
    return [place.kind.wrap(base + step * c) for c in place.child(kind, place.count)]


def run_length(place: Place) -> Values:
    runs, kind, text = place.reader.varint(), place.reader.kind(), place.reader.varint()
    values = place.child(place.kind, runs, text)
    return [value for value, more in zip(values, place.child(kind, runs), strict=True) for _ in range(1 + more)]


def dictionary(place: Place) -> Values:
    entries, text = place.reader.varint(2**20), place.reader.varint()
    index = place.child(narrowest(entries - 1), place.count)
    values = place.child(place.kind, entries, text)
    return [values[i] for i in index]


def unpack_bits(data: list[int], widths: list[int]) -> list[int]:
    """Numbers of some bits each, least significant first, without gaps; what is left of the last byte is zero."""
    whole, values = int.from_bytes(bytes(data), "little"), []
    check(len(data) == (sum(widths) + 7) // 8, "bits left over")
    at = 0
    for width in widths:
        values.append(whole >> at & ((1 << width) - 1))
        at += width
    check(whole >> at == 0, "padding is not zero")
    return values


def bit_pack(place: Place) -> Values:
    width = place.reader.u8()
    check(1 <= width <= 56, "width")
    return unpack_bits(place.child(Kind.U8, (place.count * width + 7) // 8), [width] * place.count)


def bit_split(place: Place) -> Values:
    low, kind = place.reader.u8(), place.reader.kind()
    check(1 <= low <= 56, "width")
    highs = place.child(kind, place.count)
    lows = unpack_bits(place.child(Kind.U8, (place.count * low + 7) // 8), [low] * place.count)
    return [place.kind.wrap((high << low) + rest) for high, rest in zip(highs, lows, strict=True)]


def byte_planes(place: Place) -> Values:
    planes = [place.child(Kind.U8, place.count) for _ in range(place.kind.width)]
    return [place.kind.wrap(int.from_bytes(bytes(value), "little")) for value in zip(*planes, strict=True)]


def from_buckets(buckets: list[int], bits: list[int], direct: int, mantissa: int) -> list[int]:
    def parts(bucket: int) -> tuple[int, int]:
        """The value is the first number followed by as many bits as the second says."""
        if bucket < 1 << direct:
            return bucket, 0
        exponent = direct + (bucket - (1 << direct) >> mantissa)
        return (1 << mantissa) + (bucket - (1 << direct)) % (1 << mantissa), exponent - mantissa

    found = [parts(bucket) for bucket in buckets]
    lows = unpack_bits(bits, [width for _, width in found])
    return [(high << width) + low for (high, width), low in zip(found, lows, strict=True)]


def buckets(place: Place) -> Values:
    direct, mantissa, extra = place.reader.u8(), place.reader.u8(), place.reader.varint()
    check(mantissa <= direct <= 10, "buckets")
    found = place.child(Kind.U16, place.count)
    return from_buckets(found, place.child(Kind.U8, extra), direct, mantissa)


def keys(place: Place) -> list[int]:
    """The fields of lookup and partition that name parents: for each value the rank of its key."""
    count = place.reader.u8()
    check(count in (1, 2), "parents of a key")
    codes = [place.codes(place.reader.varint()) for _ in range(count)]
    found = codes[0]
    if count == 2:
        size = max(codes[1]) + 1
        found = [first * size + second for first, second in zip(*codes, strict=True)]
    check(max(found) < 2**22, "key")
    rank = {key: place for place, key in enumerate(sorted(set(found)))}
    return [rank[key] for key in found]


def set_exceptions(values: Values, gaps: list[int], exceptions: Values) -> Values:
    for end, exception in zip(accumulate(gaps), exceptions, strict=True):
        values[end - 1] = exception
    check(0 not in gaps, "gap of zero")
    return values


def lookup(place: Place) -> Values:
    found = keys(place)
    count, text, exceptions, exception_text = (place.reader.varint() for _ in range(4))
    check(count == max(found) + 1, "keys")
    values = place.child(place.kind, count, text)
    gaps = place.child(Kind.U32, exceptions)
    return set_exceptions([values[key] for key in found], gaps, place.child(place.kind, exceptions, exception_text))


def partition(place: Place) -> Values:
    found = keys(place)
    count, sizes = place.reader.varint(), [place.reader.varint() for _ in range(place.reader.varint(256))]
    check(count == max(found) + 1 and len(sizes) >= 2 and sum(sizes) == place.count, "parts")
    part = place.child(Kind.U8, count)
    parts = [iter(place.child(place.kind, size)) for size in sizes]
    return [next(parts[part[key]]) for key in found]
