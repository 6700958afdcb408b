"""The jobs on a real standalone cluster, from the bundle, with an executor and a worker killed on the way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyspark
import pytest

from jobs import bundle
from mdlake.archive.options import VerifyOptions
from mdlake.archive.verify import verify

pytestmark = pytest.mark.spark
ROOT = Path(__file__).resolve().parent.parent
FILES = 24


@dataclass
class Cluster:
    """A master and its workers, each a process of ours."""

    url: str
    home: Path
    environment: dict[str, str]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    port = _free_port()
    home = tmp_path / "home"
    home.mkdir()
    environment = {
        **os.environ,
        "HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_DAEMON_MEMORY": "256m",
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }
    environment.pop("PYTHONPATH", None)
    made = Cluster(f"spark://127.0.0.1:{port}", home, environment)
    package = "org.apache.spark.deploy"
    address = ("--host", "127.0.0.1", "--webui-port", str(_free_port()))
    processes = [_start(made, tmp_path, f"{package}.master.Master", *address, "--port", str(port))]
    try:
        _await(lambda: _listens(port), "the master does not listen")
        for number in range(2):
            where = ("--cores", "1", "--memory", "1g", "--work-dir", str(tmp_path / f"work-{number}"))
            address = ("--host", "127.0.0.1", "--webui-port", str(_free_port()))
            made.workers.append(_start(made, tmp_path, f"{package}.worker.Worker", *address, *where, made.url))
        processes += made.workers
        yield made
    finally:
        for process in processes:
            for pid in _children(process.pid):
                _kill(pid)
            process.kill()
            process.wait()


@pytest.mark.timeout(400)
def test_encode_from_the_bundle_survives_kill_9_of_an_executor_and_of_a_worker(
    cluster: Cluster, tmp_path: Path
) -> None:
    source, archive = tmp_path / "source", tmp_path / "archive"
    _write_source(source)
    log = tmp_path / "submit.log"
    with log.open("wb") as output:
        submit = subprocess.Popen(
            _submit(cluster, tmp_path, source, archive), env=cluster.environment, stdout=output, stderr=output
        )
    try:
        _await(lambda: "encode: " in log.read_text() and _tasks_done(log) >= 2, "no task was done", log)
        executors = _children(cluster.workers[0].pid)
        assert executors, "the first worker has no executor"
        for pid in executors:
            _kill(pid)
        _await(lambda: _tasks_done(log) >= 6 or submit.poll() is not None, "no task was done after that", log)
        _kill(cluster.workers[1].pid)
        assert submit.wait(timeout=240) == 0, log.read_text()[-3000:]
    finally:
        submit.kill()
        submit.wait()
    text = log.read_text()
    assert "Lost executor" in text or "worker lost" in text.lower(), "nothing was lost: the test proves nothing"
    report = verify(VerifyOptions(str(archive), str(source)))
    assert report.ok and report.files == FILES
    (unpacked,) = (cluster.home / ".cache" / f"mdlake-{os.getuid()}").iterdir()
    assert list((unpacked / "mdlake" / "kernels" / "__pycache__").glob("*.nbi")), "kernels were not cached"


def _submit(cluster: Cluster, tmp_path: Path, source: Path, archive: Path) -> list[str]:
    return [
        str(Path(sysconfig.get_path("scripts")) / "spark-submit"),
        *("--master", cluster.url, "--conf", "spark.ui.enabled=false", "--executor-memory", "512m"),
        *("--py-files", str(bundle.build(tmp_path / "dist"))),
        *(str(ROOT / "jobs" / "encode.py"), str(source), str(archive)),
    ]


def _write_source(folder: Path) -> None:
    folder.mkdir()
    draw = np.random.default_rng(7)
    for number in range(FILES):
        rows = pa.table(
            {
                "a": draw.integers(0, 1000, 40_000),
                "b": np.cumsum(draw.integers(0, 5, 40_000)),
                "c": draw.normal(size=40_000).round(3),
            }
        )
        pq.write_table(rows, folder / f"part-{number:02d}.parquet")


def _start(cluster: Cluster, folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    launcher = Path(pyspark.__file__).parent / "bin" / "spark-class"
    with (folder / f"{arguments[0].rsplit('.', 1)[1]}-{len(cluster.workers)}.log").open("wb") as log:
        return subprocess.Popen(
            [str(launcher), *arguments], env=cluster.environment, stdout=log, stderr=log, cwd=folder
        )


def _tasks_done(log: Path) -> int:
    lines = [line for line in log.read_text().splitlines() if line.startswith("encode: ") and " tasks" in line]
    return int(lines[-1].split()[1]) if lines else 0


def _children(pid: int) -> list[int]:
    """The processes whose parent is `pid`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1]) == pid:
                found.append(int(entry.name))
        except OSError:  # it ended while we looked
            continue
    return found


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _await(condition: Callable[[], bool], failure: str, log: Path | None = None, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            pytest.fail(failure + (f":\n{log.read_text()[-3000:]}" if log else ""))
        time.sleep(0.2)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
