"""From a trained network to an artifact: the stages of a recipe in order, then blocks.

With pruning, shared values and coding this is Han, Mao and Dally, Deep Compression (2016), with context coding in
place of Huffman codes. Every choice is made on the validation split.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import product
from typing import Any

from mdlake.artifact import artifact_bytes
from mdlake.errors import InvalidArgumentError, located
from mdlake.models.bundle import Model
from mdlake.models.metrics import score_name
from mdlake.models.schemes import Codebook, Kept, Linear
from mdlake.models.training import TrainingOptions
from mdlake.shrink.prune import count_nonzero
from mdlake.shrink.stages import STAGES, Data, Making, Stage

Attempt = tuple[Stage, ...]
"""One way to compress."""

Watch = Callable[[str, list[dict[str, Any]]], None]


@dataclass(frozen=True)
class CompressOptions:
    """Candidates are all combinations of the stages' options; all stages may cost `max_drop` of the score.

    `stages`: tables as in a recipe, `use` names the stage; an option that is a list is tried with each of its values.
    `training`: of stages that have none of their own. `effort` is the block codec's: "max" saves about 2 % of a small
    network, and takes a minute to get ready.
    """

    stages: Sequence[Mapping[str, Any]] = ({"use": "prune"}, {"use": "linear"})
    max_drop: float = 0.002
    effort: str = "default"
    training: TrainingOptions = field(default_factory=TrainingOptions)

    def __post_init__(self) -> None:
        if not self.stages:
            raise InvalidArgumentError("at least one stage is needed")
        attempts(self)  # wrong options are told now


@dataclass(frozen=True)
class StageReport:
    """The network after one stage: what an artifact of it would take, and its score on the validation split."""

    stage: str
    bytes: int
    score: float
    nonzero: int
    bits: float


@dataclass(frozen=True)
class Candidate:
    """What came of an attempt: the artifact, and the score on the validation split of exactly that artifact."""

    attempt: Attempt
    data: bytes
    score: float
    nonzero: int
    bits: float
    stages: tuple[StageReport, ...]
    history: list[dict[str, Any]]

    @property
    def name(self) -> str:
        return told(self.attempt)

    def to_json(self) -> dict[str, Any]:
        """Everything but the attempt."""
        plain = {name: getattr(self, name) for name in ("score", "nonzero", "bits", "history")}
        stages = [asdict(report) for report in self.stages]
        return {**plain, "stages": stages, "data": base64.b64encode(self.data).decode()}

    @staticmethod
    def from_json(attempt: Attempt, found: Mapping[str, Any]) -> Candidate:
        """The inverse of `to_json`."""
        stages = tuple(StageReport(**report) for report in found["stages"])
        data = base64.b64decode(found["data"])
        return Candidate(attempt, data, found["score"], found["nonzero"], found["bits"], stages, found["history"])


def attempts(options: CompressOptions) -> list[Attempt]:
    """All combinations of the stages' options, the first stage's varying slowest."""
    return list(product(*(_choices(table, options.training) for table in options.stages)))


def told(attempt: Attempt) -> str:
    """The attempt in words."""
    return ", ".join(map(str, attempt))


def compress(
    model: Model, attempts: Sequence[Attempt], data: Data, effort: str = "default", watch: Watch | None = None
) -> list[Candidate]:
    """Runs the stages of each attempt on a copy of the network; what attempts begin with alike is run once.

    An artifact holds exactly the network that was measured. The candidates are in the order of the attempts. `watch` is
    given, after each epoch, the stages so far in words and the figures of all their epochs.
    """
    found = {made.attempt: made for made in _grown(Making(model), (), (), attempts, data, effort, watch)}
    return [found[attempt] for attempt in attempts]


def _grown(
    making: Making,
    done: Attempt,
    reports: tuple[StageReport, ...],
    attempts: Sequence[Attempt],
    data: Data,
    effort: str,
    watch: Watch | None,
) -> Iterator[Candidate]:
    """The candidates of all attempts, which begin with the stages `done`."""
    for stage in dict.fromkeys(attempt[len(done)] for attempt in attempts):
        branch, so_far = copy.deepcopy(making), (*done, stage)
        branch.watch = partial(watch, told(so_far)) if watch else None
        stage.run(branch, data)
        final, score = _restored(branch, so_far, data)
        ends = so_far in attempts
        encoded = artifact_bytes(final, branch.schemes, effort if ends else "fast")
        nonzero, bits = count_nonzero(final.module), _mean_bits(final, branch.schemes)
        so_far_told = (*reports, StageReport(str(stage), len(encoded), score, nonzero, bits))
        longer = [attempt for attempt in attempts if attempt[: len(so_far)] == so_far and attempt != so_far]
        if ends:
            yield Candidate(so_far, encoded, score, nonzero, bits, so_far_told, branch.history)
        if longer:
            yield from _grown(branch, so_far, so_far_told, longer, data, effort, watch)


def choose(candidates: Sequence[Candidate], floor: float, max_bytes: int = 0) -> Candidate:
    """The smallest artifact whose score is at the floor or above or, given `max_bytes`, the best within them.

    Raises:
        InvalidArgumentError: there is none; it names the nearest that was reached.
    """
    if max_bytes:
        return _best_within(candidates, max_bytes)
    fitting = [candidate for candidate in candidates if candidate.score >= floor]
    if not fitting:
        best = max(candidates, key=lambda candidate: candidate.score)
        raise InvalidArgumentError(
            f"no candidate keeps a score of {floor:.4f} on the validation split; the best was {best.score:.4f} "
            f"with {best.name}, {len(best.data)} bytes: raise max_drop, or allow more bits or lower sparsities"
        )
    return min(fitting, key=lambda candidate: (len(candidate.data), -candidate.score))


def _best_within(candidates: Sequence[Candidate], max_bytes: int) -> Candidate:
    fitting = [candidate for candidate in candidates if len(candidate.data) <= max_bytes]
    if not fitting:
        least = min(candidates, key=lambda candidate: len(candidate.data))
        raise InvalidArgumentError(
            f"no candidate has at most {max_bytes} bytes; the smallest has {len(least.data)} with {least.name}, "
            f"at a score of {least.score:.4f}: allow more, or add higher sparsities and fewer bits to the recipe"
        )
    return max(fitting, key=lambda candidate: (candidate.score, -len(candidate.data)))


def _choices(table: Mapping[str, Any], training: TrainingOptions) -> list[Stage]:
    """A stage for each combination of the values of those options that are lists."""
    given = dict(table)
    use = given.pop("use", None)
    if use not in STAGES:
        raise InvalidArgumentError(f"a stage uses one of {', '.join(STAGES)}, not {use!r}")
    with located(stage=use):
        try:
            given["training"] = replace(training, **given.get("training", {}))
            if "aware" in given:
                given["aware"] = replace(given["training"], **given["aware"])
            lists = {name: value for name, value in given.items() if isinstance(value, list | tuple)}
            return [
                STAGES[use](**{**given, **dict(zip(lists, values, strict=True))}) for values in product(*lists.values())
            ]
        except TypeError as error:
            raise InvalidArgumentError(f"these are not its options: {error}") from error


def _restored(making: Making, attempt: Attempt, data: Data) -> tuple[Model, float]:
    """The network exactly as an artifact holds it, and its score."""
    module = copy.deepcopy(making.module)
    kept = {name: scheme.restore() for name, scheme in making.schemes.items()}
    module.load_state_dict({**module.state_dict(), **kept})
    model, score = making.model, data.measure(module)
    metrics = {**model.metrics, score_name(model.metrics).lower(): round(score, 6)}
    return replace(model, module=module, metrics=metrics, lineage={**model.lineage, "stages": told(attempt)}), score


def _mean_bits(model: Model, schemes: Mapping[str, Kept]) -> float:
    """Bits per weight before entropy coding."""
    total = bits = 0
    for name, parameter in model.module.named_parameters():
        scheme = schemes.get(name)
        match scheme:
            case Linear():
                width = scheme.bits
            case Codebook():
                width = len(scheme.book).bit_length()
            case _:
                width = 8 * parameter.element_size()
        total += parameter.numel()
        bits += width * parameter.numel()
    return bits / total if total else 0.0
