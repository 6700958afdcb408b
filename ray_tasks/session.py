"""Connects to Ray: to the cluster that is named, to the one a job was submitted to, or to one of our own.

Our own has a few CPUs, listens on loopback only and ends with this process. What is found running (a caller
that already connected) is used and left running. Nothing here stops a cluster that others use.

Ray reads its settings when it is imported, and they differ: so no module of these tasks imports Ray until it
is connected.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_SETTINGS = {
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray's next default; set so that it does not warn
}
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # else it listens on every interface


@contextmanager
def connected(address: str = "", cpus: int = 2) -> Iterator[None]:
    """A connection to Ray for the length of the body."""
    ours = not address and "RAY_ADDRESS" not in os.environ
    settings = {**_SETTINGS, **ONE_THREAD, **(_LOOPBACK if ours else {})}
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield
        return
    logging.getLogger("ray").setLevel(logging.ERROR)
    if not ours:
        environment = {} if _submitted() else _environment()
        ray.init(
            address or None,
            runtime_env={**environment, "env_vars": {**ONE_THREAD, "RAY_TRAIN_V2_ENABLED": "1"}},
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
    else:
        ray.init(
            "local",  # else a cluster that somebody else runs on this machine would be joined
            num_cpus=cpus,
            include_dashboard=False,
            _node_ip_address="127.0.0.1",
            object_store_memory=256 << 20,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
    try:
        yield
    finally:
        ray.shutdown()


def _submitted() -> bool:
    """True in a job of `ray job submit`, which has brought its own environment."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def _environment() -> dict[str, list[str]]:
    """Brings the library and these tasks to workers on other machines."""
    import mdlake

    return {"py_modules": [str(Path(mdlake.__file__).parent), str(Path(__file__).parent)]}
