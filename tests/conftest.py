"""Fixtures shared by all tests: a real S3 server, Spark session and Ray cluster, each started once.

All servers listen on loopback only, and are stopped by their own process id.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # the machine is shared by Spark, Ray and the pools of the tests

# Ray reads these when it is imported, which is when tests are collected.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # else Ray listens on every interface
os.environ["RAY_TRAIN_V2_ENABLED"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

_REGION = "us-east-1"


@dataclass
class S3:
    """A running S3 server. `options` are the storage options of a user who may read and write."""

    endpoint: str
    buckets: int = 0
    options: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.options = self.credentials("writer")

    def credentials(self, user: str, secret: str | None = None) -> dict[str, str]:
        """Storage options of `admin`, `writer` or `reader`; a given `secret` replaces the right one."""
        return {
            "endpoint": self.endpoint,
            "region": _REGION,
            "access_key_id": f"{user}-key",
            "secret_access_key": secret or f"{user}-secret",
        }

    def environment(self) -> dict[str, str]:
        """The same credentials as environment variables, for other processes."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": _REGION,
            "AWS_ACCESS_KEY_ID": self.options["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": self.options["secret_access_key"],
            "AWS_ALLOW_HTTP": "true",
        }

    def bucket(self) -> str:
        """A fresh bucket's URL. This server makes a bucket on an administrator's first write to it."""
        from mdlake.lake.store import open_store

        self.buckets += 1
        url = f"s3://test-bucket-{self.buckets}"
        store = open_store(url, self.credentials("admin"))
        store.put("made", b"")
        store.delete(["made"])
        return url


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """SeaweedFS: it enforces signatures and If-None-Match, as S3 does."""
    folder = tmp_path_factory.mktemp("s3")
    (folder / "users.json").write_text(json.dumps({"identities": [_identity(*user) for user in _USERS]}))
    (folder / "data").mkdir()
    ports: dict[str, int] = dict(zip(("master", "volume", "filer", "s3"), _free_ports(4), strict=True))
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(_weed(folder, ports), stdout=log, stderr=log, cwd=folder)
    try:
        endpoint = f"http://127.0.0.1:{ports['s3']}"
        _await_s3(server, endpoint, folder / "log")
        yield S3(endpoint)
    finally:
        server.send_signal(signal.SIGKILL)  # SIGTERM takes half a minute
        server.wait()


_USERS = (
    ("admin", ["Admin", "Read", "Write", "List"]),
    ("writer", ["Read", "Write", "List"]),
    ("reader", ["Read", "List"]),
)


def _identity(name: str, actions: list[str]) -> dict[str, Any]:
    return {
        "name": name,
        "credentials": [{"accessKey": f"{name}-key", "secretKey": f"{name}-secret"}],
        "actions": actions,
    }


def _weed(folder: Path, ports: dict[str, int]) -> list[str]:
    """Room for 1,000 volumes of 64 MB, by number: counted from the free disk, a few buckets would take it all."""
    program = Path(sysconfig.get_path("scripts")) / "weed"
    return [
        *(str(program), "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *(f"-master.port={ports['master']}", f"-volume.port={ports['volume']}"),
        *("-filer", f"-filer.port={ports['filer']}", "-volume.max=1000", "-master.volumeSizeLimitMB=64"),
        *("-s3", f"-s3.port={ports['s3']}", f"-s3.config={folder / 'users.json'}", "-s3.iam=false"),
        *("-webdav=false", "-master.telemetry=false", "-s3.port.lance=0", "-s3.port.iceberg=0"),
    ]


def _await_s3(server: subprocess.Popen[bytes], endpoint: str, log: Path) -> None:
    """Waits until the server refuses an anonymous request, which means that it is up."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            urllib.request.urlopen(endpoint, timeout=5)
        except urllib.error.HTTPError as error:
            if error.code == 403:
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise RuntimeError(f"the S3 server did not start:\n{log.read_text(errors='replace')[-2000:]}")


def _free_ports(count: int) -> list[int]:
    """Ports that are free together with port + 10000, which SeaweedFS takes for its gRPC."""
    ports: list[int] = []
    while len(ports) < count:
        with socket.socket() as probe, socket.socket() as second:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1] % 20000 + 20000
            try:
                with socket.socket() as first:
                    first.bind(("127.0.0.1", port))
                    second.bind(("127.0.0.1", port + 10000))
            except OSError:
                continue
            if port not in ports:
                ports.append(port)
    return ports


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A local Spark session with two cores, bound to loopback, without its web interface."""
    sql = pytest.importorskip("pyspark.sql")
    folder = tmp_path_factory.mktemp("spark")
    before = dict(os.environ)
    os.environ |= {
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }
    settings = {
        "spark.driver.memory": "1g",
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",  # many small queries
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.default.parallelism": "2",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.local.dir": str(folder / "scratch"),
    }
    builder = sql.SparkSession.builder.master("local[2]").appName("mdlake-tests")
    for key, value in settings.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    try:
        yield session
    finally:
        session.stop()
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Any]:
    """A local Ray cluster of two CPUs on loopback; it is the tests' own, and ends with them."""
    ray = pytest.importorskip("ray")
    ray.init(
        "local",
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=256 << 20,
        _node_ip_address="127.0.0.1",
        configure_logging=True,
        log_to_driver=False,
    )
    try:
        yield ray
    finally:
        ray.shutdown()
