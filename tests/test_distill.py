"""Distillation losses: zero at the teacher, the papers' formulas, and students that gain by them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.functional import log_softmax, softmax

from mdlake.errors import InvalidArgumentError
from mdlake.shrink.distill.features import HintLoss, attention_loss, relational_loss, watch_features
from mdlake.shrink.distill.logits import decoupled_loss, hard_label_loss, soft_label_loss
from tests.tiny_networks import CLASSES, convolutional, dense, images, points, trained

STUDENT = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
TEACHER = torch.randn(6, 5, generator=torch.Generator().manual_seed(1)) * 3
LABELS = torch.tensor([0, 1, 2, 3, 4, 0])
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@pytest.mark.parametrize(
    "loss",
    [soft_label_loss, lambda s, t: decoupled_loss(s, t, LABELS), relational_loss],
    ids=["soft", "decoupled", "rel"],
)
def test_losses_vanish_at_the_teacher_and_pull_only_the_student(loss: Loss) -> None:
    student, teacher = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    found = loss(student, teacher)
    found.backward()
    assert float(found.detach()) > 0 and teacher.grad is None
    assert student.grad is not None and bool(student.grad.any()) and bool(student.grad.isfinite().all())
    assert float(loss(TEACHER, TEACHER)) == pytest.approx(0.0, abs=1e-5)


def test_gradients_keep_their_size_at_high_temperatures() -> None:
    """Hinton et al., equation 4: towards (student - teacher) / classes, for logits of mean 0."""
    student = (STUDENT - STUDENT.mean(1, keepdim=True)).requires_grad_()
    teacher = TEACHER - TEACHER.mean(1, keepdim=True)
    soft_label_loss(student, teacher, 1000.0).backward()
    assert student.grad is not None
    expected = (student.detach() - teacher) / student.numel()
    assert torch.allclose(student.grad, expected, rtol=0.05, atol=1e-3)


def test_parts_of_the_decoupled_loss_make_up_the_plain_one() -> None:
    """Zhao et al., equation 6: the plain loss is the first part plus the teacher's doubt times the second."""
    for row in range(6):
        one, two, label = STUDENT[row : row + 1], TEACHER[row : row + 1], LABELS[row : row + 1]
        first = decoupled_loss(one, two, label, 2.0, 1.0, 0.0)
        second = decoupled_loss(one, two, label, 2.0, 0.0, 1.0)
        doubt = 1 - softmax(two / 2.0, 1)[0, label[0]]
        assert float(first + doubt * second) == pytest.approx(float(soft_label_loss(one, two, 2.0)), rel=1e-4)


def test_hard_labels_are_the_teacher_s_decisions() -> None:
    expected = -log_softmax(STUDENT, 1)[torch.arange(6), TEACHER.argmax(1)].mean()
    assert float(hard_label_loss(STUDENT, TEACHER)) == pytest.approx(float(expected))


def test_attention_compares_where_not_what() -> None:
    maps = torch.rand(3, 4, 6, 6)
    assert float(attention_loss(maps.repeat(1, 2, 1, 1) * 5, maps)) == pytest.approx(0.0, abs=1e-6)
    assert float(attention_loss(maps.flip(3), maps)) > 0.01
    assert float(attention_loss(torch.rand(3, 2, 3, 3), maps)) > 0  # resized
    with pytest.raises(InvalidArgumentError, match="height, width"):
        attention_loss(STUDENT, maps)


def test_relations_do_not_change_under_rotation_and_scale() -> None:
    turned = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(2)))[0]
    assert float(relational_loss(3 * TEACHER @ turned, TEACHER)) == pytest.approx(0.0, abs=1e-6)
    assert float(relational_loss(STUDENT[:, :3], TEACHER)) > 0.01
    with pytest.raises(InvalidArgumentError, match="two rows"):
        relational_loss(STUDENT[:1], TEACHER[:1])


def test_classes_that_the_teacher_rules_out_count_for_nothing() -> None:
    ruled, three = torch.cat([TEACHER, torch.full((6, 1), -torch.inf)], 1), STUDENT.clone()
    student = torch.cat([three, torch.full((6, 1), -40.0)], 1).requires_grad_()
    found = soft_label_loss(student, ruled)
    found.backward()
    assert float(found.detach()) == pytest.approx(float(soft_label_loss(three, TEACHER)), rel=1e-3)
    assert student.grad is not None and bool(student.grad.isfinite().all())


@pytest.mark.parametrize("spatial", [False, True])
def test_hints_are_met_by_training_student_and_map(spatial: bool) -> None:
    batches = images() if spatial else points()
    teacher = trained(convolutional() if spatial else dense(), batches, 10)
    student = nn.Sequential(nn.Conv2d(2, 6, 5, stride=2) if spatial else nn.Linear(12, 6), nn.ReLU())
    hint = HintLoss(6, 12 if spatial else 16, spatial)
    optimizer = torch.optim.Adam([*student.parameters(), *hint.parameters()], 1e-2)
    seen: list[float] = []
    with watch_features(teacher, ["6" if spatial else "3"]) as features:
        for _ in range(15):
            for batch in batches:
                with torch.no_grad():
                    teacher(*batch.inputs)
                loss = hint(student(*batch.inputs), next(iter(features.values())))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                seen.append(float(loss.detach()))
    assert seen[-1] < seen[0] / 2
    features.clear()
    teacher(*batches[0].inputs)
    assert not features  # nothing is watched any more


def test_a_student_learns_from_logits_alone() -> None:
    """On rows without labels: where the teacher is right, the student is."""
    teacher, unlabelled, held = trained(dense(), points(1600), 20), points(1600, seed=7), points(400, seed=8)

    def agreement(network: nn.Module) -> float:
        same = [network(*b.inputs).argmax(1) == teacher(*b.inputs).argmax(1) for b in held]
        return float(torch.cat(same).float().mean())

    for loss in (soft_label_loss, hard_label_loss, lambda s, t: decoupled_loss(s, t, t.argmax(1))):
        torch.manual_seed(0)
        student = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, CLASSES))
        optimizer = torch.optim.Adam(student.parameters(), 1e-2)
        for _ in range(20):
            for batch in unlabelled:
                optimizer.zero_grad()
                loss(student(*batch.inputs), teacher(*batch.inputs)).backward()
                optimizer.step()
        assert agreement(student) > 0.85


def test_tensors_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="of one shape"):
        soft_label_loss(STUDENT, TEACHER[:, :3])
    with pytest.raises(InvalidArgumentError, match="temperature"):
        soft_label_loss(STUDENT, TEACHER, 0.0)
    with pytest.raises(InvalidArgumentError, match="no submodules"), watch_features(dense(), ["x"]):
        pass
