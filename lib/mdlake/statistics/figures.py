"""The figures of the report, gathered from the statistics: plain rows, in the order in which they are shown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mdlake.statistics.records import read, read_latest

Rows = list[dict[str, Any]]
_ARTIFACT = "artifact"
_PARAMETERS = re.compile(r"\[[^\]]*\]")


CANDIDATE = "candidate"
"""What the statistics `models` call an artifact that was tried; its stage says how."""


@dataclass(frozen=True)
class Figures:
    """`highlights`: label, value, note. `columns`: bytes of each, largest first. `steps`: bytes of the table."""

    highlights: Sequence[tuple[str, str, str]] = ()
    outcomes: Rows = field(default_factory=list)
    columns: Rows = field(default_factory=list)
    steps: Rows = field(default_factory=list)
    models: Rows = field(default_factory=list)
    candidates: Rows = field(default_factory=list)
    layers: Rows = field(default_factory=list)
    training: Rows = field(default_factory=list)
    stages: Rows = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """Every model once, those that were measured first: the order of the colours."""
        return list(dict.fromkeys(row["model"] for row in (*self.models, *self.training)))


def gather(stats_url: str, options: Mapping[str, str] | None = None) -> Figures:
    """Reads every kind of statistics; a kind that was never recorded leaves its part empty."""

    def latest(kind: str) -> Rows:
        return read_latest(stats_url, kind, options).to_pylist()

    steps = _steps(read(stats_url, "tables", options).to_pylist())
    models = _models(latest("models"))
    return Figures(
        highlights=_highlights(steps, models),
        outcomes=latest("ingest"),
        columns=_columns(latest("profile"), latest("blocks")),
        steps=steps,
        models=models,
        candidates=_candidates(read(stats_url, "models", options).to_pylist()),
        layers=latest("layers"),
        training=_training(read(stats_url, "training", options).to_pylist()),
        stages=_newest(read(stats_url, "stages", options).to_pylist(), "stage"),
    )


def _columns(profile: Rows, blocks: Rows) -> Rows:
    """A row per column of the archive, with what the profile knows of it; largest first."""
    known = {row["column"]: row for row in profile}
    found: dict[tuple[int, str], dict[str, Any]] = {}
    for block in blocks:
        key = (block["position"] or 0, block["column"])
        row = found.setdefault(
            key,
            {
                "column": block["column"],
                "type": block["type"],
                "rows": 0,
                "raw": 0,
                "after": 0,
                "chains": {},
                "blocks": [],
            },
        )
        row["blocks"].append(block)
        row["rows"] += block["rows"]
        row["raw"] += block["raw_bytes"]
        row["after"] += block["encoded_bytes"]
        chain = _PARAMETERS.sub("", block["chain"])
        row["chains"][chain] = row["chains"].get(chain, 0) + block["encoded_bytes"]
    for row in found.values():
        row["profile"] = known.get(row["column"])
        row["before"] = row["profile"]["shard_bytes"] if row["profile"] else None
        row["chain"] = max(row["chains"], key=lambda chain: row["chains"][chain])
        row["smaller"] = row["before"] / row["after"] if row["before"] and row["after"] else None
        row["bits"] = 8 * row["after"] / row["rows"] if row["rows"] else None
        row["why"] = _why(row.pop("blocks"))
    return sorted(found.values(), key=lambda row: -row["after"])


def _why(blocks: Rows) -> dict[str, Any] | None:
    """What a column's bytes were spent on, and what it might have taken otherwise; None if not all blocks say."""
    if any(block["table_bytes"] is None for block in blocks):
        return None
    largest = max(blocks, key=lambda block: block["encoded_bytes"])
    found: dict[str, Any] = {name: sum(block[name] for block in blocks) for name in ("table_bytes", "exception_bytes")}
    if all(block["runner_up_bytes"] is not None for block in blocks):
        found["runner_up"] = _PARAMETERS.sub("", largest["runner_up"])
        found["runner_up_bytes"] = sum(block["runner_up_bytes"] for block in blocks)
        found["about"] = any(block["runner_up_estimated"] for block in blocks)
    if any(block["alone_bytes"] is not None for block in blocks):
        saved = (block["alone_bytes"] - block["encoded_bytes"] for block in blocks if block["alone_bytes"] is not None)
        found["saved_bytes"] = sum(saved)
        found["relation"] = max(blocks, key=lambda block: (block["relation"] is not None, block["rows"]))["relation"]
    return found


def _steps(tables: Rows) -> Rows:
    """The table as each format keeps it. Arrow is left to the highlights: its bar would dwarf the others."""
    by_stage = {row["stage"]: row for row in tables}
    ingest, encode = by_stage.get("ingest", {}), by_stage.get("encode", {})
    kept = [
        ("Parquet, snappy", ingest.get("parquet_snappy_bytes"), False),
        ("Parquet, zstd-9", ingest.get("parquet_zstd9_bytes"), False),
        ("mdlake archive", encode.get("archive_bytes"), True),
    ]
    sizes = [size for _, size, _ in kept if size]
    return [
        {"step": name, "bytes": size, "ours": ours, "note": f"{size:,}  \u2013  {sizes[0] / size:.2f}\u00d7"}
        for name, size, ours in kept
        if size
    ]


def _models(models: Rows) -> Rows:
    """The models as measured on the test split, with how many times smaller than the first (the teacher)."""
    measured = [row for row in models if row["split"] == "test"]
    return [{**row, "smaller": measured[0]["bytes"] / row["bytes"] if row["bytes"] else None} for row in measured]


def _candidates(models: Rows) -> Rows:
    """What the newest compression tried, smallest first; `front`: better than all that are smaller (Pareto)."""
    tried = [row for row in models if row["model"] == CANDIDATE]
    found, best = [], float("-inf")
    for row in sorted((row for row in tried if row["run"] == tried[-1]["run"]), key=lambda row: row["bytes"]):
        score = row["accuracy"] if row["auc"] is None else row["auc"]
        found.append({"stage": row["stage"], "bytes": row["bytes"], "score": score, "front": score > best})
        best = max(best, score)
    return found


def _training(rows: Rows) -> Rows:
    """Each model's newest run, oldest model first."""
    newest = {row["model"]: row["run"] for row in rows}
    plain = ("model", "epoch", "split", "loss", "auc", "accuracy")
    return [{name: row[name] for name in plain} for row in rows if newest[row["model"]] == row["run"]]


def _newest(rows: Rows, key: str) -> Rows:
    return list({row[key]: row for row in rows}.values())


def _highlights(steps: Rows, models: Rows) -> list[tuple[str, str, str]]:
    sizes = {row["step"]: row["bytes"] for row in steps}
    archive, parquet = sizes.get("mdlake archive"), sizes.get("Parquet, zstd-9")
    found = []
    if archive and parquet:
        found.append(("archive", f"{parquet / archive:.2f}\u00d7", "smaller than Parquet, zstd-9"))
    by_name = {row["model"]: row for row in models}
    artifact = by_name.get(_ARTIFACT)
    if artifact:
        first = models[0]
        found.append((_ARTIFACT, f"{artifact['smaller']:.0f}\u00d7", f"smaller than the {first['model']}"))
        score, title = ("auc", "AUC") if artifact["auc"] is not None else ("accuracy", "accuracy")
        if artifact[score] is not None and first[score] is not None:
            told = f"on the test split; {first['model']}: {first[score]:.4f}"
            found.append((title, f"{artifact[score]:.4f}", told))
    return found
