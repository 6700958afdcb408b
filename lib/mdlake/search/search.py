"""Finds a short chain for a stream: estimate on a sample, then encode the best few in full and keep the shortest.

The search knows the encoding protocol and no encoding by name. It looks ahead: a step is worth what the shortest chains
of its children are worth, down to a depth. After a step is chosen its real children are searched anew, each on a sample
of its own, so that an estimate never decides more than one step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mdlake.encodings.chain import Chain
from mdlake.encodings.facts import Facts
from mdlake.encodings.protocol import Encoding, Leaf, Stream
from mdlake.search.sample import sample

STEP_COST = 3.0
"""Bytes an inner step takes in the block, about."""


@dataclass(frozen=True)
class Effort:
    """How hard to look. `always` are leaves that are tried in full on every stream, whatever the estimate says."""

    leaves: tuple[type[Encoding], ...]
    steps: tuple[type[Encoding], ...]
    always: tuple[type[Encoding], ...]
    depth: int
    sample: int
    keep: int


def shortest(stream: Stream, effort: Effort) -> Chain:
    """The shortest chain found for a stream; deterministic. Never longer than any of `effort.always`."""
    ranked = _ranked(Facts(sample(stream, effort.sample), len(stream)), effort, effort.depth)
    tried = [proposal for _, proposal in ranked[: effort.keep]]
    guards = [leaf() for leaf in effort.always if not any(type(proposal) is leaf for proposal in tried)]
    chains = [chain for proposal in (*tried, *guards) if (chain := _encode(proposal, stream, effort, effort.depth))]
    return min(chains, key=len)


def _encode(proposal: Encoding, stream: Stream, effort: Effort, depth: int) -> Chain | None:
    """The stream in full by this first step; the steps below it are searched one by one."""
    encoded = proposal.encode(stream)
    if encoded is None:
        return None
    step, children = encoded
    return Chain(step, tuple(_descend(child, effort, depth - 1) for child in children))


def _descend(stream: Stream, effort: Effort, depth: int) -> Chain:
    facts = Facts(sample(stream, effort.sample), len(stream))
    for _, proposal in _ranked(facts, effort, depth):
        if (chain := _encode(proposal, stream, effort, depth)) is not None:
            return chain
    raise AssertionError("some leaf takes every stream")


def _ranked(facts: Facts, effort: Effort, depth: int) -> list[tuple[float, Encoding]]:
    """Every proposal for a stream with these facts, by its estimated bytes, least first."""
    priced = [(_price(proposal, facts, effort, depth), proposal) for proposal in _proposals(facts, effort, depth)]
    return sorted(priced, key=lambda pair: pair[0])


def _proposals(facts: Facts, effort: Effort, depth: int) -> Iterator[Encoding]:
    for leaf in effort.leaves:
        yield from leaf.propose(facts)
    if depth > 0:
        for step in effort.steps:
            yield from step.propose(facts)


def _price(proposal: Encoding, facts: Facts, effort: Effort, depth: int) -> float:
    """The estimated bytes of the whole stream when it begins with this step."""
    if isinstance(proposal, Leaf):
        return proposal.estimate(facts)
    encoded = proposal.encode(facts.stream)
    if encoded is None:
        return float("inf")
    step, children = encoded
    price = STEP_COST
    for i, child in enumerate(children):
        full = facts.full_distinct if i == step.table else round(len(child) * facts.scale)
        ranked = _ranked(Facts(child, max(full, len(child))), effort, depth - 1)
        price += ranked[0][0] if ranked else float("inf")
    return price
