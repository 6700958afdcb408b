"""Curves for TensorBoard say what the history says, epoch for epoch, and nothing of the machine."""

from __future__ import annotations

import socket
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mdlake.lake.store import open_store
from mdlake.models.curves import Curves, event_file

SECONDS = (2.0, 5.0, 1.5)  # killed after the second epoch, and continued


def history(score: str = "auc") -> list[dict[str, Any]]:
    figures = {"auc": None, "accuracy": 0.5}
    return [
        {**figures, score: 0.6 + 0.1 * n, "epoch": n + 1, "step": 9 * (n + 1), "train_loss": 1.0 / (n + 1),
         "loss": 1.1 / (n + 1), "learning_rate": 1e-3 / (n + 1), "seconds": seconds}
        for n, seconds in enumerate(SECONDS)
    ]  # fmt: skip


def events(data: bytes) -> list[Any]:
    """The `Event` messages of a file: length, its checksum, the message, its checksum."""
    from tensorboardX.proto.event_pb2 import Event  # type: ignore[attr-defined]

    found, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        found.append(Event.FromString(data[at + 12 : at + 12 + length]))
        at += 12 + length + 4
    return found


def curves_of(data: bytes) -> dict[str, list[tuple[int, float]]]:
    curves: dict[str, list[tuple[int, float]]] = {}
    for event in events(data):
        for value in event.summary.value:
            curves.setdefault(value.tag, []).append((event.step, value.simple_value))
    return curves


@pytest.mark.parametrize(("score", "tag"), [("auc", "AUC"), ("accuracy", "accuracy")])
def test_the_events_are_the_rows_of_the_history(score: str, tag: str) -> None:
    rows = history(score)
    found = curves_of(event_file(rows))
    expected = {
        "train/loss": "train_loss",
        "validation/loss": "loss",
        f"validation/{tag}": score,
        "learning_rate": "learning_rate",
    }
    assert found.keys() == {*expected, "seconds_per_epoch"}
    for name, key in expected.items():
        assert found[name] == [(row["epoch"], pytest.approx(row[key])) for row in rows]
    assert found["seconds_per_epoch"] == [(1, 2.0), (2, 3.0), (3, 1.5)]
    times = [event.wall_time for event in events(event_file(rows)) if event.summary.value]
    assert all(first <= second for first, second in pairwise(times)) and times[-1] - times[0] == pytest.approx(4.5)


def test_a_file_is_whole_after_each_epoch_and_names_no_machine(tmp_path: Path) -> None:
    curves = Curves(open_store(str(tmp_path / "lake")), "compress-00ff")
    for epochs in (1, 2, 3):
        curves("prune 0.1, linear 8", history()[:epochs])
        (path,) = (tmp_path / "lake").rglob("*tfevents*")
        assert len(curves_of(path.read_bytes())["train/loss"]) == epochs
    assert path.parent.relative_to(tmp_path / "lake") == Path("tensorboard/compress-00ff/prune_0.1_linear_8")
    for machine in (socket.gethostname(), str(tmp_path), str(Path.home() / "x")[:-2]):
        assert machine not in path.name and machine.encode() not in path.read_bytes()
    curves("", history())
    assert (path.parent.parent / path.name).exists()
