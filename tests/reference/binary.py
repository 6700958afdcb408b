"""FORMAT.md, range: the interval that yes-or-no decisions narrow, and the coder of bits by two moving averages."""

from __future__ import annotations

from collections import defaultdict

from .reader import check

FULL = 2**64 - 1


class Interval:
    """Decodes bits from a stream, given the probability of a 1 in 1 / 2^16."""

    def __init__(self, stream: bytes) -> None:
        self.stream, self.at = stream, 8
        self.low, self.high = 0, FULL
        self.code = int.from_bytes(stream[:8].ljust(8, b"\0"), "big")

    def bit(self, p: int) -> int:
        middle = self.low + (self.high - self.low >> 16) * p
        bit = int(self.code <= middle)
        if bit:
            self.high = middle
        else:
            self.low = middle + 1
        while self.low >> 56 == self.high >> 56:
            byte = self.stream[self.at] if self.at < len(self.stream) else 0
            self.low = self.low << 8 & FULL
            self.high = self.high << 8 & FULL | 255
            self.code = self.code << 8 & FULL | byte
            self.at += 1
        return bit

    def end(self) -> None:
        """The stream has to be the shortest that, with zeros behind it, leads here."""
        moved = self.at - 8
        size = 0 if self.low == 0 else next(size for size in range(1, 9) if self._reached(size))
        rest = self.stream[moved:]
        check(len(rest) <= size and (size == 0 or len(rest) == size), "stream of another length")

    def _reached(self, size: int) -> bool:
        unit = 1 << 8 * (8 - size)
        return -(-self.low // unit) * unit <= self.high


class Node:
    """The probability of a 1 at a node of a tree."""

    def __init__(self) -> None:
        self.seen, self.slow, self.fast, self.weight = 0, 1 << 21, 1 << 15, 1 << 12

    def decode(self, interval: Interval) -> int:
        s = self.slow >> 6
        difference = self.fast - s
        p = min(max(s + (difference * self.weight >> 14), 2), 65534)
        bit = interval.bit(p)
        self.weight = min(max(self.weight + ((65535 * bit - p) * difference >> 22), 0), 16383)
        self.slow += (4194303 * bit - self.slow) * (2**21 // (2 * self.seen + 3)) >> 20
        self.fast += 65535 * bit - self.fast >> 4
        self.seen = min(self.seen + 1, 4095)
        return bit


def range_(payload: bytes, count: int, alphabet: int) -> list[int]:
    if count == 0 or alphabet == 1:
        check(not payload, "payload")
        return [0] * count
    order, size = payload[0] % 2, payload[0] // 2
    check(len(payload) % 128 == (size + 1) % 128, "size")
    interval, depth = Interval(payload[1:]), (alphabet - 1).bit_length()
    nodes: defaultdict[tuple[int, int], Node] = defaultdict(Node)
    shift, symbols, symbol = max(0, 2 * depth - 18), [], 0
    for _ in range(count):
        context, node = symbol >> shift if order else 0, 1
        for _ in range(depth):
            node = 2 * node + nodes[context, node].decode(interval)
        symbol = node - (1 << depth)
        check(symbol < alphabet, "symbol")
        symbols.append(symbol)
    interval.end()
    return symbols
