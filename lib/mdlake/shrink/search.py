"""Which candidate is taken, and what is worth trying next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

from mdlake.errors import InvalidArgumentError
from mdlake.shrink.attempts import Attempt
from mdlake.shrink.candidates import Candidate
from mdlake.shrink.stages import Stage

_DIGITS = 4


@dataclass(frozen=True)
class Budget:
    """What a candidate must keep: a score of `floor` on the validation split or, if given, `max_bytes`."""

    floor: float
    max_bytes: int = 0

    def keeps(self, candidate: Candidate) -> bool:
        """Whether it is within the budget."""
        if not candidate.whole:
            return False
        return len(candidate.data) <= self.max_bytes if self.max_bytes else candidate.score >= self.floor

    def rank(self, candidate: Candidate) -> tuple[float, float]:
        """Smallest for the best: the fewest bytes or, where these are what is given, the highest score."""
        first, second = len(candidate.data), -candidate.score
        return (second, first) if self.max_bytes else (first, second)


class BudgetError(InvalidArgumentError):
    """No candidate is within the budget."""


def choose(candidates: Sequence[Candidate], budget: Budget) -> Candidate:
    """The best of those within the budget.

    Raises:
        BudgetError: there is none; it names the nearest that was reached.
    """
    fitting = [candidate for candidate in candidates if budget.keeps(candidate)]
    if fitting:
        return min(fitting, key=budget.rank)
    if budget.max_bytes:
        least = min(candidates, key=lambda candidate: len(candidate.data))
        raise BudgetError(
            f"no candidate has at most {budget.max_bytes} bytes; the smallest has {len(least.data)} with {least.name}, "
            f"at a score of {least.score:.4f}: allow more, or add higher sparsities and fewer bits to the recipe"
        )
    best = max(candidates, key=lambda candidate: candidate.score)
    raise BudgetError(
        f"no candidate keeps a score of {budget.floor:.4f} on the validation split; the best was {best.score:.4f} "
        f"with {best.name}, {len(best.data)} bytes: raise max_drop, or allow more bits or lower sparsities"
    )


def refine(candidates: Sequence[Candidate], budget: Budget) -> list[Attempt]:
    """What to try next: the best, with one option half way to where the budget was not kept.

    That is bisection along each option that was tried with several numbers. Nothing, if nothing keeps the budget or
    nothing better was out of reach.
    """
    fitting = [candidate for candidate in candidates if budget.keeps(candidate)]
    if not fitting:
        return []
    best = min(fitting, key=budget.rank)
    nearest: dict[tuple[int, str], float] = {}
    for other in candidates:
        if budget.keeps(other) or (other.whole and budget.rank(other) > budget.rank(best)):
            continue
        for place, name, value in _one_apart(best.attempt, other.attempt):
            mine = getattr(best.attempt[place], name)
            known = nearest.get((place, name))
            if known is None or abs(value - mine) < abs(known - mine):
                nearest[place, name] = value
    tried = {candidate.attempt for candidate in candidates}
    found = [_between(best.attempt, place, name, value) for (place, name), value in nearest.items()]
    return [attempt for attempt in found if attempt not in tried]


def _one_apart(mine: Attempt, other: Attempt) -> Iterator[tuple[int, str, float]]:
    """Stage, option and the other's value, if that is the only difference; a short attempt is as far as it goes."""
    apart = [place for place, (one, two) in enumerate(zip(mine, other, strict=False)) if one != two]
    if len(apart) == 1 and type(mine[apart[0]]) is type(other[apart[0]]):
        names = _different(mine[apart[0]], other[apart[0]])
        if len(names) == 1 and type(value := getattr(other[apart[0]], names[0])) in (int, float):
            yield apart[0], names[0], value


def _different(one: Stage, other: Stage) -> list[str]:
    names = [field.name for field in fields(one)]  # type: ignore[arg-type]
    return [name for name in names if getattr(one, name) != getattr(other, name)]


def _between(attempt: Attempt, place: int, name: str, value: float) -> Attempt:
    """The attempt with this option half way to the value."""
    middle = (getattr(attempt[place], name) + value) / 2
    given = int(middle) if type(value) is int else float(f"{middle:.{_DIGITS}g}")
    stage = replace(attempt[place], **{name: given})  # type: ignore[type-var]
    return (*attempt[:place], stage, *attempt[place + 1 :])
