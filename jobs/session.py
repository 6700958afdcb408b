"""One Spark session per job, with the settings that our jobs rely on.

What `spark-submit --conf` or the cluster sets is never overridden, except the two settings that results
depend on: UTC, and names that differ by case are different names.
"""

from __future__ import annotations

import os
import sys

from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

_ALWAYS = {"spark.sql.session.timeZone": "UTC", "spark.sql.caseSensitive": "true"}
_DEFAULTS = {"spark.sql.execution.arrow.pyspark.enabled": "true", "spark.ui.showConsoleProgress": "false"}
_LOCAL = {  # one machine: nothing listens outside it, and few shuffle partitions are enough
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.shuffle.partitions": "8",
    "spark.ui.enabled": "false",
}
_CREDENTIALS = ("AWS_", "AZURE_", "GOOGLE_")


def open_session(name: str) -> SparkSession:
    """The session of the application `name`, on the master that was asked for, else on this machine."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    SparkContext._ensure_initialized()  # else SparkConf does not know yet what spark-submit was told
    conf = SparkConf().setAppName(name)
    conf.setIfMissing("spark.master", "local[*]")
    defaults = {**_DEFAULTS, **_executor_environment()}
    if conf.get("spark.master", "").startswith("local"):
        defaults |= _LOCAL
    for key, value in defaults.items():
        conf.setIfMissing(key, value)
    for key, value in _ALWAYS.items():
        conf.set(key, value)
    session = SparkSession.builder.config(conf=conf).getOrCreate()
    session.sparkContext.setLogLevel("WARN")
    return session


def _executor_environment() -> dict[str, str]:
    """The driver's credentials for object stores, for tasks; Spark redacts them wherever it shows settings."""
    found = {f"spark.executorEnv.{k}": v for k, v in os.environ.items() if k.startswith(_CREDENTIALS)}
    if found:
        found["spark.redaction.regex"] = "(?i)secret|password|token|credential|key"
    return found
