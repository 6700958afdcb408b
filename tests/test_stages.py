"""Every method is a stage that a recipe can name, and the artifact holds exactly what the stage made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from test_images import TRAINING, model, source

from mdlake.artifact import parse_artifact
from mdlake.errors import InvalidArgumentError
from mdlake.models.bundle import Model
from mdlake.models.training import Trainer, hard_loss
from mdlake.shrink.attempts import CompressOptions, attempts
from mdlake.shrink.candidates import Candidate
from mdlake.shrink.compress import compress
from mdlake.shrink.stages import Data


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Data]:
    folder = tmp_path_factory.mktemp("images")
    train, validation = source(folder / "train", 900), source(folder / "validation", 300, 1)
    dense = model()
    list(Trainer(dense.module, train, validation, TRAINING, hard_loss).run())
    return dense, Data(train, validation, hard_loss)


def made(trained: tuple[Model, Data], *stages: dict[str, Any]) -> tuple[Candidate, torch.nn.Module]:
    options = CompressOptions(stages, training=replace(TRAINING, epochs=2, learning_rate=2e-3, weight_decay=0.0))
    (attempt,) = attempts(options)
    (found,) = compress(trained[0], [attempt], trained[1])
    module = parse_artifact(found.data).module
    assert trained[1].measure(module) == found.score
    return found, module


def matrices(module: torch.nn.Module) -> list[torch.Tensor]:
    return [parameter.detach() for parameter in module.parameters() if parameter.dim() >= 2]


@pytest.mark.parametrize("score", ["sensitivity", "damage", "surgeon"])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_pruning_by_what_the_loss_loses(trained: tuple[Model, Data], score: str, scope: str) -> None:
    found, module = made(trained, {"use": "prune", "sparsity": 0.6, "score": score, "scope": scope})
    weights = matrices(module)
    gone, total = sum(int((w == 0).sum()) for w in weights), sum(w.numel() for w in weights)
    assert gone >= 0.59 * total and found.score > 0.75
    if scope == "layer":
        assert all(float((w == 0).float().mean()) > 0.5 for w in weights)


@pytest.mark.parametrize("score", ["magnitude", "surgeon"])
def test_two_of_every_four_stay_in_the_artifact(trained: tuple[Model, Data], score: str) -> None:
    found, module = made(trained, {"use": "prune", "score": score, "pattern": "2:4"})
    assert found.name == "prune 2:4" and found.score > 0.75
    last = matrices(module)[-1]
    assert last.shape == (3, 12) and int((last.reshape(-1, 4) != 0).sum(1).max()) <= 2


@pytest.mark.parametrize(("rule", "levels"), [("nearest", 15), ("feedback", 15), ("binary", 2), ("ternary", 3)])
def test_rounding_by_a_rule(trained: tuple[Model, Data], rule: str, levels: int) -> None:
    aware: dict[str, Any] = {} if rule == "feedback" else {"aware": {"epochs": 3, "learning_rate": 5e-3}}
    found, module = made(trained, {"use": "round", "rule": rule, "bits": 4, **aware})
    for weight in matrices(module):
        assert max(len(row.unique()) for row in weight) <= levels
    assert found.score > 0.55  # chance is a third
    assert found.name == ("round " + rule + (" 4" if levels == 15 else ""))


def test_pruned_weights_stay_pruned_when_rounded(trained: tuple[Model, Data]) -> None:
    prune = {"use": "prune", "sparsity": 0.5}
    for rule in ("nearest", "ternary"):
        _, module = made(trained, prune, {"use": "round", "rule": rule, "aware": {"epochs": 1}})
        weights = matrices(module)
        assert sum(int((w == 0).sum()) for w in weights) >= 0.49 * sum(w.numel() for w in weights)
    for rule in ("feedback", "binary"):
        with pytest.raises(InvalidArgumentError, match=f"{rule} rounding would bring pruned weights back"):
            made(trained, prune, {"use": "round", "rule": rule})


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"use": "prune", "score": "guess"}, "score is one of magnitude, lamp, sensitivity, damage, surgeon"),
        ({"use": "prune", "score": "damage", "ramp_epochs": 2}, "ranks matrices, at once"),
        ({"use": "prune", "pattern": "2:4", "biases": True}, "a pattern is of matrices"),
        ({"use": "prune", "pattern": "3:4"}, "pattern is one of empty, 2:4, not '3:4'"),
        ({"use": "round", "rule": "up"}, "a rule is one of nearest, feedback, binary, ternary"),
        ({"use": "round", "bits": 9}, "bits are from 2 to 8"),
        ({"use": "round", "rule": "feedback", "aware": {"epochs": 1}}, "no training of its own"),
        ({"use": "cut", "of": "time"}, "macs or parameters, not 'time'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(stage: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        CompressOptions([stage])
