"""FORMAT.md, Mixed: symbols as decisions in a tree, each predicted by several contexts. And squash and stretch."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict, deque
from dataclasses import dataclass, field

from .binary import Interval
from .reader import U32, Kind, Place, Values, check


def squash(z: int) -> int:
    if z < 0:
        return 2 if z == -3072 else 65536 - squash(-z)
    return min(max(math.floor(65536 / (1 + math.exp(-z / 256)) + 0.5), 2), 65534)


SQUASH = [squash(z) for z in range(-3072, 3072)]
STRETCH = [max(bisect_right(SQUASH, q) - 1 - 3072, -3071) for q in range(65536)]


def held(z: int) -> int:
    return min(max(z, -3071), 3071)


@dataclass
class Fork:
    """A decision: where its counter lies, and what each bit leads to, a fork or a symbol."""

    number: int
    group: int
    slot: int
    enters: bool  # the group begins here
    next: list[Fork | int] = field(default_factory=list)


def tree(depths: list[int]) -> Fork:
    leaves = deque((symbol, depth) for symbol, depth in enumerate(depths) if depth)
    check(all(depth <= 40 for depth in depths), "depth")
    root = nested(leaves, 0)
    check(not leaves and isinstance(root, list), "no full tree")
    assert isinstance(root, list)
    return numbered(root)


def nested(leaves: deque[tuple[int, int]], depth: int) -> list | int:
    check(bool(leaves) and leaves[0][1] >= depth, "no full tree")
    if leaves[0][1] == depth:
        return leaves.popleft()[0]
    return [nested(leaves, depth + 1), nested(leaves, depth + 1)]


def numbered(root: list) -> Fork:
    """Forks by number breadth first, and their groups in the order of forks."""
    first = Fork(0, 0, 1, True)
    queue, forks, groups = deque([(first, root)]), 1, 1
    while queue:
        fork, halves = queue.popleft()
        for bit, half in enumerate(halves):
            if isinstance(half, int):
                fork.next.append(half)
                continue
            slot = 2 * fork.slot + bit
            follower = Fork(forks, fork.group, slot, False) if slot < 8 else Fork(forks, groups, 1, True)
            groups += follower.enters
            forks += 1
            fork.next.append(follower)
            queue.append((follower, half))
    return first


def context_hash(number: int, codes: list[int]) -> int:
    x = number * 0x3D4D51CB + 0x1B873593 & U32
    for code in codes:
        x = (x ^ code) * 0x9E3779B1 & U32
        x ^= x >> 15
    return x


def knows(seen: int) -> int:
    return bisect_right((1, 2, 3, 5, 9, 25, 100), seen)


class Mixed:
    """The state of the predictor."""

    def __init__(self, values: int, contexts: int, limit: int) -> None:
        self.contexts, self.limit = contexts, limit
        self.bits = min(max((values * contexts // 2).bit_length(), 8), 22)
        self.lines: defaultdict[int, list[int]] = defaultdict(lambda: [0] * 8)
        weight = 2**17 // (contexts + 1)
        self.first: defaultdict[int, list[list[int]]] = defaultdict(
            lambda: [[0, *[weight] * 7] for _ in range(contexts)]
        )
        self.second: defaultdict[tuple[int, ...], list[list[int]]] = defaultdict(
            lambda: [[weight] * 8 for _ in range(contexts)]
        )
        self.corrections: defaultdict[int, list[int]] = defaultdict(
            lambda: [squash(min(192 * a - 3072, 3071)) for a in range(33)]
        )
        self.visits: defaultdict[int, int] = defaultdict(int)

    def line(self, x: int, group: int) -> list[int]:
        y = (x + group * 0x85EBCA6B) * 0xC2B2AE35 & U32
        y ^= y >> 16
        tag = y * 0x2545F491 & U32 | 1
        place = y % (1 << self.bits)
        one, other = self.lines[place], self.lines[place ^ 1]
        if tag in (one[0], other[0]):
            return one if one[0] == tag else other
        taken = other if one[0] and one[1] % 1024 > other[1] % 1024 else one
        taken[:] = [tag, *[1 << 31] * 7]
        return taken

    def decode(self, interval: Interval, fork: Fork, lines: list[list[int]]) -> int:
        counters = [line[fork.slot] for line in lines]
        says = [STRETCH[counter >> 16] for counter in counters]
        known = [knows(counter % 1024) for counter in counters]
        shared = min(fork.number, 1023)
        first, second = self.first[shared], self.second[tuple(known[-2:])]
        z1 = held(sum(first[k][known[k]] * says[k] for k in range(self.contexts)) >> 16)
        z2 = held(sum(second[k][known[k]] * says[k] for k in range(self.contexts)) >> 16)
        z = z1 + z2 >> 1
        a, r = divmod(z + 3072, 192)
        c = self.corrections[shared]
        corrected = (c[a] * (192 - r) + c[a + 1] * r) // 192
        bit = interval.bit(squash(z) + corrected >> 1)

        target = 65535 * bit
        c[a] += (target - c[a]) * (192 - r) // 9216
        c[a + 1] += (target - c[a + 1]) * r // 9216
        self.visits[shared] += 1
        rate = 14 * (1 + 1024 // (self.visits[shared] + 64))
        for k, say in enumerate(says):
            first[k][known[k]] += say * (target - squash(z1)) * rate >> 18
            second[k][known[k]] += say * (target - squash(z2)) * 14 >> 18
        for line in lines:
            line[fork.slot] = self.learned(line[fork.slot], bit)
        return bit

    def learned(self, counter: int, bit: int) -> int:
        p, s = counter >> 10, counter % 1024
        p += ((2**22 - 1) * bit - p) * (2**17 // (2 * s + 3)) >> 16
        return p << 10 | min(s + 1, self.limit)


def mixed(place: Place) -> Values:
    reader = place.reader
    alphabet, limit = reader.varint(2**16), reader.varint(1023)
    contexts = [[(reader.varint(), reader.u8()) for _ in range(reader.varint(4))] for _ in range(reader.varint(24))]
    payload = reader.counted()
    root = tree(place.child(Kind.U8, alphabet))
    check(payload[0] == (len(payload) - 1) % 128, "size")
    interval, model = Interval(payload[1:]), Mixed(place.count, len(contexts), limit)
    beside = {source: place.codes(source - 2) for context in contexts for source, _ in context if source >= 2}
    values, last, before = [], 0, 0
    for i in range(place.count):
        codes = {0: last, 1: before, **{source: parent[i] for source, parent in beside.items()}}
        hashes = [
            context_hash(k, [codes[source] >> shift for source, shift in context]) for k, context in enumerate(contexts)
        ]
        fork, lines = root, []
        while isinstance(fork, Fork):
            if fork.enters:
                lines = [model.line(x, fork.group) for x in hashes]
            fork = fork.next[model.decode(interval, fork, lines)]
        values.append(fork)
        last, before = fork + 1, last
    interval.end()
    return values
