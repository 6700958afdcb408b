"""Checkpoints of training: after each epoch one file with weights, optimizer state and history.

`epoch-00003.safetensors` is written whole or not at all. Only the newest and the best so far (by score on the
validation split) are kept. Tensors that workers have in parts are whole in it, so that more or fewer workers, or
one with the whole network, can go on. A checkpoint of other options or other data, known by its fingerprint, is
ignored: training starts over rather than continue what was not asked for.
"""

from __future__ import annotations

import re
from typing import Any

import torch

from mdlake.errors import CorruptError
from mdlake.lake.store import Store
from mdlake.models.metrics import score_of
from mdlake.models.sharded import gathered, placed
from mdlake.models.tensors import read_tensors, write_tensors
from mdlake.models.training import BESIDE, Progress, Training

_NAME = re.compile(r"epoch-(\d{5})\.safetensors")
_WEIGHT, _OPTIMIZER = "weight/", "optimizer/"


def save_checkpoint(store: Store, folder: str, trainer: Training, fingerprint: str) -> None:
    """Writes the checkpoint of the epoch just done, then removes those that are no longer of use.

    All workers call it, for what is sharded is gathered from all; the first one writes.
    """
    progress, first = trainer.progress, trainer.share.rank == 0
    if not (first or trainer.sharded):
        return
    tensors = {_WEIGHT + name: tensor for name, tensor in trainer.network.state_dict().items()}
    tensors = gathered(tensors | _optimizer_tensors(trainer), keep=first)
    if not first:
        return
    about = {"fingerprint": fingerprint, "epoch": progress.epoch, "history": progress.history}
    write_tensors(store, _path(folder, progress.epoch), tensors, about)
    kept = {progress.epoch, best_epoch(progress.history)}
    store.delete([path for epoch, path in _found(store, folder) if epoch not in kept])


def load_checkpoint(store: Store, folder: str, trainer: Training, fingerprint: str) -> bool:
    """Puts the newest checkpoint of this very training into `trainer`; False if there is none."""
    for epoch, path in reversed(_found(store, folder)):
        tensors, about = read_tensors(store, path)
        if about.get("fingerprint") != fingerprint:
            continue
        current = trainer.network.state_dict()
        weights = _below(tensors, _WEIGHT)
        trainer.network.load_state_dict({name: placed(weights[name], current.get(name)) for name in weights})
        _load_optimizer(trainer, _below(tensors, _OPTIMIZER))
        trainer.progress = Progress(epoch, list(about["history"]))
        return True
    return False


def best_weights(store: Store, folder: str, fingerprint: str) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """The weights of the best epoch of a training that is through, and its history."""
    found = _found(store, folder)
    if not found:
        raise CorruptError("training left no checkpoint", file=store.url_of(folder))
    _, about = read_tensors(store, found[-1][1])
    tensors, best = read_tensors(store, _path(folder, best_epoch(about["history"])))
    if best.get("fingerprint") != fingerprint or about.get("fingerprint") != fingerprint:
        raise CorruptError("these checkpoints are of another training", file=store.url_of(folder))
    weights = _below(tensors, _WEIGHT)
    return {name: weights[name] for name in weights if not name.startswith(f"{BESIDE}.")}, about["history"]


def remove_checkpoints(store: Store, folder: str) -> None:
    store.delete([path for _, path in _found(store, folder)])


def best_epoch(history: list[dict[str, Any]]) -> int:
    """The epoch (from 1) with the highest score on the validation split, of equal ones that with the lowest loss."""
    return max(history, key=lambda row: (score_of(row), -row["loss"], -row["epoch"]))["epoch"]


def _path(folder: str, epoch: int) -> str:
    return f"{folder}/epoch-{epoch:05d}.safetensors"


def _found(store: Store, folder: str) -> list[tuple[int, str]]:
    paths = [info.path for info in store.list(folder)]
    names = ((_NAME.fullmatch(path.rsplit("/", 1)[-1]), path) for path in paths)
    return sorted((int(match[1]), path) for match, path in names if match)


def _below(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _optimizer_tensors(trainer: Training) -> dict[str, torch.Tensor]:
    """The optimizer's state by parameter number and slot, as `optimizer/3/exp_avg`."""
    state = trainer.optimizer.state_dict()["state"]
    return {
        f"{_OPTIMIZER}{number}/{slot}": torch.as_tensor(value).clone()
        for number, slots in state.items()
        for slot, value in slots.items()
    }


def _load_optimizer(trainer: Training, tensors: dict[str, torch.Tensor]) -> None:
    state: dict[int, dict[str, torch.Tensor]] = {}
    parameters = [parameter for group in trainer.optimizer.param_groups for parameter in group["params"]]
    for name, tensor in tensors.items():
        number, slot = name.split("/")
        state.setdefault(int(number), {})[slot] = placed(tensor, parameters[int(number)])
    groups = trainer.optimizer.state_dict()["param_groups"]
    trainer.optimizer.load_state_dict({"state": state, "param_groups": groups})
