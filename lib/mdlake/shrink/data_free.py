"""A student without data: a generator looks for images on which student and teacher differ, the student learns them.

Fang et al., Data-Free Adversarial Distillation (2019): the student's steps make the mean distance of the logits
smaller, the generator's make its logarithm larger; what both learn from is made of noise. For teachers whose rows may
not be seen any more: nothing but the teacher and the shape of what it sees is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import interpolate, l1_loss

from mdlake.errors import InvalidArgumentError

_SLOPE = 0.2


@dataclass(frozen=True)
class DataFreeOptions:
    """`rounds` of `student_steps` steps of the student and one of the generator, each on `batch_size` images.

    latent: numbers that an image is made of; width: channels of the generator. Rates fall along a cosine.
    """

    rounds: int = 2000
    student_steps: int = 5
    batch_size: int = 128
    student_rate: float = 5e-3
    generator_rate: float = 5e-3
    latent: int = 100
    width: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.rounds, self.student_steps, self.batch_size, self.latent, self.width) < 1:
            raise InvalidArgumentError("rounds, steps, batches and widths of data-free distillation are 1 or more")
        if min(self.student_rate, self.generator_rate) <= 0:
            raise InvalidArgumentError("the rates of data-free distillation are above 0")


class Generator(nn.Module):
    """float32 noise [rows, latent] -> images [rows, channels, height, width], channels normalised over the batch."""

    def __init__(self, latent: int, width: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, width_ = shape
        self.size, self.small = (height, width_), (-(-height // 4), -(-width_ // 4))
        self.first = nn.Sequential(
            nn.Linear(latent, 2 * width * self.small[0] * self.small[1]),
            nn.Unflatten(1, (2 * width, *self.small)),
            nn.BatchNorm2d(2 * width),
        )
        self.second, self.third = _layer(2 * width, 2 * width), _layer(2 * width, width)
        image = nn.Conv2d(width, channels, 3, padding=1)
        self.last = nn.Sequential(image, nn.Tanh(), nn.BatchNorm2d(channels, affine=False))

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        half = tuple(-(-size // 2) for size in self.size)
        values = self.second(interpolate(self.first(noise), half))
        return self.last(self.third(interpolate(values, self.size)))


def distill_without_data(
    student: nn.Module, teacher: nn.Module, shape: tuple[int, int, int], options: DataFreeOptions
) -> Iterator[float]:
    """Trains the student in place; after each round gives the mean distance of its logits from the teacher's.

    Args:
        shape: channels, height and width of the images that both take; they answer with logits [rows, classes].

    Raises:
        InvalidArgumentError: the logits are of different shapes, or the loss is no finite number.
    """
    torch.manual_seed(options.seed)
    device = next(student.parameters()).device
    generator = Generator(options.latent, options.width, shape).to(device).train()
    learner = torch.optim.Adam(student.parameters(), options.student_rate)
    maker = torch.optim.Adam(generator.parameters(), options.generator_rate)
    rates = [torch.optim.lr_scheduler.CosineAnnealingLR(one, options.rounds) for one in (learner, maker)]
    teacher.to(device).eval()
    frozen = [parameter for parameter in teacher.parameters() if parameter.requires_grad]
    try:
        for parameter in frozen:
            parameter.requires_grad_(False)
        for number in range(options.rounds):
            student.train()
            distance = torch.zeros((), device=device)
            for _ in range(options.student_steps):
                with torch.no_grad():
                    images = generator(_noise(options, device))
                distance = _step(learner, _distance(student, teacher, images))
            student.eval()  # the generator is after what the student knows, not after its batch statistics
            apart = _distance(student, teacher, generator(_noise(options, device)))
            _step(maker, -torch.log1p(apart))
            if not torch.isfinite(distance):
                raise InvalidArgumentError(f"the loss is not a finite number in round {number}: lower student_rate")
            for rate in rates:
                rate.step()
            yield float(distance)
    finally:
        student.eval()
        for parameter in frozen:
            parameter.requires_grad_(True)


def _distance(student: nn.Module, teacher: nn.Module, images: torch.Tensor) -> torch.Tensor:
    ours, theirs = student(images), teacher(images)
    if ours.shape != theirs.shape:
        raise InvalidArgumentError(f"the logits of student and teacher are {list(ours.shape)} and {list(theirs.shape)}")
    return l1_loss(ours, theirs)


def _step(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> torch.Tensor:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def _noise(options: DataFreeOptions, device: torch.device) -> torch.Tensor:
    return torch.randn(options.batch_size, options.latent, device=device)


def _layer(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.LeakyReLU(_SLOPE))
