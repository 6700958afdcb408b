"""The stages of the demo: each a command line, what it reads and what it writes in the lake."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from demo.flights import source_path
from jobs import bundle

ROOT = Path(__file__).resolve().parent.parent
_LOCAL_JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # a minute's work: compile lightly, few threads

_TITLES = {
    "ingest": "CSV to typed Parquet shards",
    "encode": "shards to archive",
    "verify": "archive against shards, bit for bit",
    "restore": "archive back to Parquet",
    "train": "teacher on the shards",
    "score": "teacher's outputs beside the shards",
    "distill": "students, with and without the teacher",
    "compress": "prune, quantise, code: the artifact",
    "evaluate": "everything on the test split",
    "report": "statistics to report.html",
}
_CLEARS = {"restore": ("restored",)}


@dataclass(frozen=True)
class Setting:
    """Where the demo runs: the lake's URL, a Spark master, a Ray address ("" for one of our own)."""

    lake: str
    spark: str
    ray: str
    rows: int
    recipe: str

    def at(self, path: str) -> str:
        return f"{self.lake.rstrip('/')}/{path}"


@dataclass(frozen=True)
class Stage:
    """`reads` and `writes` are folders or objects of the lake: if none of them changed, the work is done.

    `clears` are folders that the application wants empty: what an earlier demo left there is removed first.
    """

    name: str
    title: str
    command: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    clears: tuple[str, ...] = ()


def stages(setting: Setting) -> list[Stage]:
    """All stages, in order."""
    source, report = source_path(setting.rows), "report.html"
    shards, archive, restored, stats = map(setting.at, ("shards", "archive", "restored", "stats"))
    per_shard = str(max(500, min(70_000, setting.rows * 21 // 100)))
    ingest = (
        setting.at(source),
        shards,
        "--options",
        str(ROOT / "demo" / "flights.toml"),
        "--rows-per-shard",
        per_shard,
        "--overwrite",  # where another demo's shards were
    )
    encode = (shards, archive, "--overwrite")  # where another demo's archive was, a new version
    students = ("checkpoints/student_alone", "checkpoints/student_distilled")
    artifact = "artifacts/student.safetensors"
    return [
        Stage(name, _TITLES[name], command, reads, writes, _environment(setting), _CLEARS.get(name, ()))
        for name, command, reads, writes in (
            ("ingest", _spark(setting, "ingest", *ingest, "--stats", stats), (source,), ("shards",)),
            ("encode", _spark(setting, "encode", *encode, "--stats", stats), ("shards",), ("archive",)),
            ("verify", _spark(setting, "verify", archive, "--source", shards), ("archive", "shards"), ()),
            ("restore", _spark(setting, "restore", archive, restored), ("archive",), ("restored",)),
            ("train", _ray(setting, "train"), ("shards",), ("checkpoints/teacher",)),
            ("score", _ray(setting, "score"), ("checkpoints/teacher", "shards"), ("scores",)),
            ("distill", _ray(setting, "distill"), ("scores", "shards"), students),
            ("compress", _ray(setting, "compress"), ("checkpoints", "shards"), (artifact,)),
            ("evaluate", _ray(setting, "evaluate"), ("checkpoints", artifact), ("stats/models",)),
            ("report", (sys.executable, str(ROOT / "jobs" / "report.py"), setting.lake), ("stats",), (report,)),
        )
    ]


def _spark(setting: Setting, verb: str, *arguments: str) -> tuple[str, ...]:
    submit = (_script("spark-submit"), "--master", setting.spark)
    if setting.spark.startswith("local"):
        submit += ("--driver-memory", "2g", "--driver-java-options", _LOCAL_JVM)
    else:
        submit += ("--py-files", str(bundle.path(ROOT / "dist")))
    return (*submit, str(ROOT / "jobs" / f"{verb}.py"), *arguments)


def _ray(setting: Setting, verb: str) -> tuple[str, ...]:
    task = ("-m", f"ray_tasks.{verb}", "--lake", setting.lake)
    if setting.recipe:
        task += ("--recipe", setting.recipe)
    if setting.ray.startswith(("http://", "https://")):  # the address that takes jobs, not that of the cluster
        bundled = str(bundle.path(ROOT / "dist"))
        return (
            _script("ray"),
            "job",
            "submit",
            "--address",
            setting.ray,
            "--working-dir",
            bundled,
            "--",
            "python",
            *task,
        )
    return (sys.executable, *task, *(("--ray", setting.ray) if setting.ray else ()))


def _script(name: str) -> str:
    return str(Path(sysconfig.get_path("scripts")) / name)


def _environment(setting: Setting) -> dict[str, str]:
    """Python of this environment everywhere, one thread per process, and the checkout on the path."""
    local = {"SPARK_LOCAL_IP": "127.0.0.1"} if setting.spark.startswith("local") else {}
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", "")))),
        "PYSPARK_PYTHON": os.environ.get("PYSPARK_PYTHON", sys.executable),
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
        **local,
    }
