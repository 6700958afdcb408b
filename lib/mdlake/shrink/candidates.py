"""What came of a way to compress: an artifact, its score, and how it came to it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mdlake.shrink.attempts import Attempt, told
from mdlake.shrink.layers import LayerReport


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
    """What came of an attempt: the artifact, and the score on the validation split of exactly that artifact.

    `layers`: of each stage, if they were asked for. `whole`: False if it was given up on its way; then it has the
    stages that were done.
    """

    attempt: Attempt
    data: bytes
    score: float
    nonzero: int
    bits: float
    stages: tuple[StageReport, ...]
    history: list[dict[str, Any]]
    layers: tuple[LayerReport, ...] = ()
    whole: bool = True

    @property
    def name(self) -> str:
        return told(self.attempt)

    def ends_as_well(self, least: float) -> bool:
        """Whether it would end where it did if those were given up that are below this score after a stage."""
        before = (report.score for report in self.stages[:-1])
        return all(score >= least for score in before) and (self.whole or self.score < least)

    def to_json(self) -> dict[str, Any]:
        """Everything; of the attempt, how Python writes it."""
        plain = {name: getattr(self, name) for name in ("score", "nonzero", "bits", "history", "whole")}
        reports = {name: [asdict(report) for report in getattr(self, name)] for name in ("stages", "layers")}
        return {**plain, **reports, "attempt": repr(self.attempt), "data": base64.b64encode(self.data).decode()}

    @staticmethod
    def from_json(attempts: Sequence[Attempt], found: Mapping[str, Any]) -> Candidate:
        """The inverse of `to_json`; `attempts` are those that it may be of, as a whole or their first stages."""
        beginnings = {repr(attempt[:stop]): attempt[:stop] for attempt in attempts for stop in range(len(attempt) + 1)}
        plain = {name: found[name] for name in ("score", "nonzero", "bits", "history", "whole")}
        return Candidate(
            attempt=beginnings[found["attempt"]],
            data=base64.b64decode(found["data"]),
            stages=tuple(StageReport(**report) for report in found["stages"]),
            layers=tuple(LayerReport(**report) for report in found["layers"]),
            **plain,
        )
