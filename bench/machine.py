"""The machine a figure comes from, one core of it, and the memory of this process."""

from __future__ import annotations

import os
import platform
import resource
from pathlib import Path

import pyarrow as pa

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS", "TOKIO_WORKER_THREADS", "NUMBA_NUM_THREADS"), "1"
)
SYSTEM_POOL = {"ARROW_DEFAULT_MEMORY_POOL": "system"}  # as the mdlake command has it


def machine() -> str:
    """CPU model, cores and operating system."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.processor()}, {os.cpu_count()} cores, {platform.system()}"


def one_core() -> None:
    """Pins this process to one core, and Arrow to one thread; other libraries read `ONE_THREAD` when they start."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)


def resident() -> int:
    """Bytes this process holds now; 0 where the system does not say."""
    return _status("VmRSS")


def peak_resident() -> int:
    """The most bytes this process has held since its start, or since `forget_peak`.

    Linux' ru_maxrss also counts what a parent held before the fork, so it is the fallback only.
    """
    return _status("VmHWM") or 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def forget_peak() -> None:
    """Starts `peak_resident` anew, where the system allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _status(name: str) -> int:
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(name)), 0)
