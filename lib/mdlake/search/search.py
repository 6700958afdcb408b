"""Finds a short chain for a stream: estimate on a sample, then encode the best few in full and keep the shortest.

The search knows the encoding protocol and no encoding by name. It looks ahead: a step is worth what the shortest chains
of its children are worth, down to a depth. After a step is chosen its real children are searched anew, each on a sample
of its own, so that an estimate never decides more than one step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mdlake.encodings.chain import Chain
from mdlake.encodings.facts import Facts
from mdlake.encodings.known import Known
from mdlake.encodings.protocol import Encoding, Shape, Stream
from mdlake.search.sample import places, sample
from mdlake.streams import Strings

STEP_COST = 3.0
"""Bytes an inner step takes in the block, about."""
LITTLE = 0.02
"""A child that takes no more than this share of what is to be undercut gets no steps of its own."""
CLOSE = 1.1
"""What is estimated to take so many times as much as the best is not tried in full."""
TEXT, LEAST_STRINGS = 1 << 18, 1024
"""Of strings a sample has about so many bytes at most, but not fewer strings."""


@dataclass(frozen=True)
class Effort:
    """How hard to look. `always` are leaves that are tried in full on every stream, whatever the estimate says."""

    leaves: tuple[type[Encoding], ...]
    steps: tuple[type[Encoding], ...]
    always: tuple[type[Encoding], ...]
    depth: int
    sample: int
    keep: int


def shortest(
    stream: Stream,
    effort: Effort,
    known: Known | None = None,
    path: Sequence[Encoding] = (),
    tried: list[Chain] | None = None,
) -> Chain:
    """The shortest chain found for a stream; deterministic.

    Leaves that are always tried are left out where they have no hope, or code the text of strings already. `path`: how
    the caller thinks that the chain begins, a step and the steps of its first children; tried in full. `tried` gets
    every chain that was made in full.
    """
    facts = _facts(stream, effort.sample, len(stream), known)
    ranked = _ranked(facts, effort, effort.depth, effort.keep)
    close = [proposal for price, proposal in ranked[: effort.keep] if price <= CLOSE * ranked[0][0]]
    along = _follow(path, stream, effort, known) if path else None
    chains = [along, *(_encode(proposal, stream, effort, effort.depth, known) for proposal in close)]
    best = min(filter(None, chains), key=len, default=None)
    for leaf in effort.always:
        same = best is not None and isinstance(stream, Strings) and type(best.heaviest) is leaf
        if best is None or not (same or leaf().hopeless(facts, stream, len(best))):
            chains.append(_encode(leaf(), stream, effort, effort.depth, known))
            best = min(filter(None, (best, chains[-1])), key=len)
    assert best is not None, "some leaf takes every stream"
    if tried is not None:
        tried.extend(filter(None, chains))
    return best


def outlook(
    stream: Stream, effort: Effort, known: Known | None = None, apart: type[Encoding] | None = None, few: int = 1
) -> tuple[float, Encoding] | None:
    """About how many bytes a stream takes, by a sample, and how its chain begins: not with a step of the class `apart`.

    Quicker than the search: half the sample, all proposals one step deep, and only the best `few` as deep as it looks.
    """
    facts = _facts(stream, effort.sample // 2, len(stream), known)
    proposals = [proposal for proposal in _proposals(facts, effort, effort.depth, None) if type(proposal) is not apart]
    prices = [_price(proposal, facts, effort, 1, math.inf) for proposal in proposals]
    priced = sorted(zip(prices, proposals, strict=True), key=lambda pair: pair[0])
    best = priced[0] if priced and priced[0][0] < math.inf else None
    for _, proposal in priced[:few]:
        if best and (price := _price(proposal, facts, effort, effort.depth, best[0])) < best[0]:
            best = price, proposal
    return best


def encode_so(proposal: Encoding, stream: Stream, effort: Effort, known: Known | None) -> Chain | None:
    """The stream in full by a chain that begins so; None where that cannot be."""
    return _encode(proposal, stream, effort, effort.depth, known)


def _facts(stream: Stream, size: int, full: int, known: Known | None) -> Facts:
    """Facts of a sample of about `size` values of a stream that stands for `full`."""
    if isinstance(stream, Strings) and len(stream.data) > TEXT:
        size = min(size, max(TEXT * len(stream) // len(stream.data), LEAST_STRINGS))
    starts, length = places(len(stream), size)
    beside = known.stretches(starts, length) if known else None
    return Facts(sample(stream, size), full, beside)


def _encode(proposal: Encoding, stream: Stream, effort: Effort, depth: int, known: Known | None) -> Chain | None:
    """The stream in full by this first step; the steps below it are searched one by one."""
    encoded = proposal.encode(stream, known)
    if encoded is None:
        return None
    step, children = encoded
    beside = [known.beside(len(child)) if known else None for child in children]
    left = max(depth - step.levels, 0)
    above = type(step)
    chains = (_descend(child, effort, left, k, above) for child, k in zip(children, beside, strict=True))
    return Chain(step, tuple(chains))


def _follow(path: Sequence[Encoding], stream: Stream, effort: Effort, known: Known | None) -> Chain | None:
    """The stream in full by these steps, whatever they leave as if it were a stream of its own."""
    if not path:
        return _descend(stream, effort, effort.depth, known)
    encoded = path[0].encode(stream, known)
    if encoded is None:
        return None
    step, (first, *others) = encoded
    beside = [known.beside(len(child)) if known else None for child in encoded[1]]
    chain = _follow(path[1:], first, effort, beside[0])
    rest = (_descend(child, effort, effort.depth, k) for child, k in zip(others, beside[1:], strict=True))
    return Chain(step, (chain, *rest)) if chain else None


def _descend(
    stream: Stream, effort: Effort, depth: int, known: Known | None, above: type[Encoding] | None = None
) -> Chain:
    for _, proposal in _ranked(_facts(stream, effort.sample, len(stream), known), effort, depth, 1, above):
        if (chain := _encode(proposal, stream, effort, depth, known)) is not None:
            return chain
    raise AssertionError("some leaf takes every stream")


def _ranked(
    facts: Facts, effort: Effort, depth: int, keep: int, above: type[Encoding] | None = None
) -> list[tuple[float, Encoding]]:
    """The proposals for a stream with these facts, a child of `above`, by their estimated bytes, least first: the best
    `keep` of those that are close to the best, and some that are not."""
    priced: list[tuple[float, Encoding]] = []
    limit = math.inf
    for proposal in _proposals(facts, effort, depth, above):
        price = _price(proposal, facts, effort, depth, limit)
        if price < math.inf:
            priced = sorted([*priced, (price, proposal)], key=lambda pair: pair[0])
            limit = min(CLOSE * priced[0][0], priced[keep - 1][0] if len(priced) >= keep else math.inf)
    return priced


def _proposals(facts: Facts, effort: Effort, depth: int, above: type[Encoding] | None) -> Iterator[Encoding]:
    for leaf in effort.leaves:
        yield from leaf.propose(facts)
    if depth > 0:
        for step in effort.steps:
            if step is not above or step.again:
                yield from step.propose(facts)


def _price(proposal: Encoding, facts: Facts, effort: Effort, depth: int, limit: float) -> float:
    """The estimated bytes of the whole stream when it begins with this step; infinity if that exceeds `limit`."""
    if (estimate := proposal.estimate(facts)) is not None:
        return estimate
    encoded = proposal.encode(facts.stream, facts.known)
    if encoded is None:
        return math.inf
    step, children = encoded
    price, left = STEP_COST, max(depth - step.levels, 0)
    for i, child in enumerate(children):
        full = max(facts.full_distinct if i == step.table else round(len(child) * facts.scale), len(child))
        beside = facts.known.beside(len(child)) if facts.known else None
        ahead = _facts(child, effort.sample, full, beside)
        if i == step.packed:
            price += min(_price(leaf(), ahead, effort, 0, math.inf) for leaf in effort.always)
        else:
            plain = Shape.of(child).plain * full / max(len(child), 1)
            steps = 0 if plain <= LITTLE * limit < math.inf else left
            price += _cheapest(ahead, effort, steps, limit - price, type(step))
        if price >= limit:
            return math.inf
    return price


def _cheapest(facts: Facts, effort: Effort, depth: int, limit: float, above: type[Encoding]) -> float:
    """The estimated bytes of the shortest chain for a stream with these facts, a child of `above`, if below `limit`."""
    best = math.inf
    for proposal in _proposals(facts, effort, depth, above):
        best = min(best, _price(proposal, facts, effort, depth, min(limit, best)))
    return best
