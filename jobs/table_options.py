"""Options of the table verbs as jobs: the library's own, and where statistics go."""

from __future__ import annotations

from dataclasses import dataclass, field

from mdlake.archive.options import EncodeOptions

_STATS = "folder or URL for statistics; default: none are recorded"


@dataclass(frozen=True)
class EncodeJobOptions(EncodeOptions):
    stats: str = field(default="", metadata={"help": _STATS})
