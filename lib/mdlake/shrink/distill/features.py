"""What a student learns from a teacher's inner layers: losses of tensors, each usable alone.

Features are float [rows, channels] or [rows, channels, height, width]. Gradients flow into the student only.
`watch_features` catches them on their way through a network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.functional import interpolate, mse_loss, normalize, smooth_l1_loss

from mdlake.errors import InvalidArgumentError


class HintLoss(nn.Module):
    """The mean squared distance of the student's features, mapped to the teacher's width, from the teacher's.

    Romero et al., FitNets: Hints for Thin Deep Nets (2015). The map is learnt along with the student: pass its
    parameters to the optimizer, and throw it away afterwards. Maps of other sizes are resized to the teacher's.
    """

    def __init__(self, student_channels: int, teacher_channels: int, spatial: bool = False) -> None:
        super().__init__()
        self.map: nn.Module = (
            nn.Conv2d(student_channels, teacher_channels, 1)
            if spatial
            else nn.Linear(student_channels, teacher_channels)
        )

    def forward(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        return mse_loss(_resized(self.map(student), teacher), teacher.detach())


def attention_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """The squared distance of where both look: their maps of mean squares over channels, each of length 1.

    Zagoruyko and Komodakis, Paying More Attention to Attention (2017), with p = 2. Channels may differ.
    """
    if student.dim() != 4 or teacher.dim() != 4:
        raise InvalidArgumentError("attention is transferred between features [rows, channels, height, width]")
    theirs = teacher.detach().square().mean(1, keepdim=True)
    ours = _resized(student.square().mean(1, keepdim=True), theirs)
    return (normalize(ours.flatten(1)) - normalize(theirs.flatten(1))).square().sum(1).mean()


def relational_loss(
    student: torch.Tensor, teacher: torch.Tensor, distance_weight: float = 1.0, angle_weight: float = 2.0
) -> torch.Tensor:
    """How rows lie to each other: distances between all pairs over their mean, and angles in all triples.

    Park, Kim, Lu and Cho, Relational Knowledge Distillation (2019), equations 5 to 9. Widths may differ; the angles
    take memory of rows cubed.
    """
    ours, theirs = student.flatten(1), teacher.detach().flatten(1)
    if len(ours) != len(theirs) or len(ours) < 2:
        raise InvalidArgumentError("relations are those of two rows or more, the same for student and teacher")
    distances = smooth_l1_loss(_distances(ours), _distances(theirs))
    return distance_weight * distances + angle_weight * smooth_l1_loss(_angles(ours), _angles(theirs))


@contextmanager
def watch_features(network: nn.Module, names: Iterable[str]) -> Iterator[dict[str, torch.Tensor]]:
    """While the block runs, what each of these submodules last gave is in the dict, by its name."""
    modules, wanted = dict(network.named_modules()), list(names)
    if unknown := sorted(set(wanted) - set(modules)):
        raise InvalidArgumentError(f"the network has no submodules {unknown}; it has {sorted(modules)[1:]}")
    seen: dict[str, torch.Tensor] = {}
    handles = [_watch(modules[name], name, seen) for name in wanted]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _watch(module: nn.Module, name: str, seen: dict[str, torch.Tensor]) -> torch.utils.hooks.RemovableHandle:
    def hook(module: nn.Module, args: object, output: torch.Tensor) -> object:
        seen[name] = output
        return output.clone() if isinstance(output, torch.Tensor) else None  # what comes next may work in place

    return module.register_forward_hook(hook)


def _resized(features: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    if features.dim() == 4 and features.shape[2:] != like.shape[2:]:
        return interpolate(features, like.shape[2:], mode="bilinear", align_corners=False)
    return features


def _distances(rows: torch.Tensor) -> torch.Tensor:
    """The distances of all pairs of different rows, over their mean."""
    pairs = torch.triu_indices(len(rows), len(rows), 1)
    found = (rows[pairs[0]] - rows[pairs[1]]).square().sum(1).clamp_min(1e-12).sqrt()
    return found / found.mean()


def _angles(rows: torch.Tensor) -> torch.Tensor:
    """The cosines of the angles at every row between every two rows."""
    directions = normalize(rows.unsqueeze(0) - rows.unsqueeze(1), dim=2)
    return (directions @ directions.transpose(1, 2)).flatten()
