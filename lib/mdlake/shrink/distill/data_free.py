"""A student without data: a generator looks for images on which student and teacher differ, the student learns them.

Fang et al., Data-Free Adversarial Distillation (2019): the student's steps make the mean distance of the logits
smaller, the generator's make its logarithm larger; what both learn from is made of noise. For teachers whose rows may
not be seen any more: nothing but the teacher and the shape of what it sees is needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import interpolate, l1_loss

from mdlake.errors import InvalidArgumentError
from mdlake.models.training import BESIDE, put_beside

_SLOPE = 0.2


@dataclass(frozen=True)
class DataFreeOptions:
    """`rounds` of `student_steps` steps of the student and one of the generator, each on `batch_size` images.

    latent: numbers that an image is made of; width: channels of the generator. Rates fall along a cosine. every: rounds
    after which the student is measured, and a checkpoint kept.
    """

    rounds: int = 2000
    every: int = 100
    student_steps: int = 5
    batch_size: int = 128
    student_rate: float = 5e-3
    generator_rate: float = 5e-3
    latent: int = 100
    width: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        counts = (self.rounds, self.every, self.student_steps, self.batch_size, self.latent, self.width)
        if not all(type(count) is int for count in counts):
            raise InvalidArgumentError(f"rounds, every, steps, batches and widths are whole numbers, not {counts}")
        if min(counts) < 1:
            raise InvalidArgumentError(
                "rounds, every, steps, batches and widths of data-free distillation are 1 or more"
            )
        if min(self.student_rate, self.generator_rate) <= 0:
            raise InvalidArgumentError("the rates of data-free distillation are above 0")

    @property
    def epochs(self) -> int:
        """How often the student is measured."""
        return -(-self.rounds // self.every)


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


class Adversaries:
    """A student and a generator that is put into it as `BESIDE`; both are trained in place, by one optimizer.

    Raises:
        InvalidArgumentError: the loss is no finite number.
    """

    def __init__(
        self, student: nn.Module, teacher: nn.Module, shape: tuple[int, int, int], options: DataFreeOptions
    ) -> None:
        device = next(student.parameters()).device
        learnt = list(student.parameters())
        self.generator = Generator(options.latent, options.width, shape).to(device)
        put_beside(student, self.generator)
        self.student, self.teacher, self.options = student, teacher.to(device).eval(), options
        rates = ((learnt, options.student_rate), (list(self.generator.parameters()), options.generator_rate))
        groups = [{"params": parameters, "lr": rate, "peak": rate} for parameters, rate in rates]
        self.optimizer = torch.optim.Adam(groups)

    def round(self, number: int) -> torch.Tensor:
        """The steps of the student and one of the generator; the mean distance of the logits in the last step."""
        options = self.options
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * 0.5 * (1 + math.cos(math.pi * number / options.rounds))
        distance = torch.zeros(())
        with _frozen(self.teacher):
            self.student.train()
            for _ in range(options.student_steps):
                with torch.no_grad():
                    images = self._images()
                distance = self._distance(images)
                self._step(distance, 0)
            self.student.eval()  # the generator is after what the student knows, not after its batch statistics
            self.generator.train()
            self._step(-torch.log1p(self._distance(self._images())), 1)
        if not torch.isfinite(distance):
            raise InvalidArgumentError(f"the loss is not a finite number in round {number}: lower student_rate")
        return distance.detach()

    def end(self) -> None:
        """Takes the generator out of the student again."""
        delattr(self.student, BESIDE)
        self.student.eval()

    def _images(self) -> torch.Tensor:
        options, device = self.options, next(self.generator.parameters()).device
        return self.generator(torch.randn(options.batch_size, options.latent, device=device))

    def _distance(self, images: torch.Tensor) -> torch.Tensor:
        ours, theirs = self.student(images), self.teacher(images)
        if ours.shape != theirs.shape:
            raise InvalidArgumentError(
                f"the logits of student and teacher are {list(ours.shape)} and {list(theirs.shape)}"
            )
        return l1_loss(ours, theirs)

    def _step(self, loss: torch.Tensor, group: int) -> None:
        """Of the parameters of one group; those without a gradient stay as they are."""
        self.optimizer.zero_grad()
        loss.backward()
        for parameter in self.optimizer.param_groups[1 - group]["params"]:
            parameter.grad = None
        self.optimizer.step()


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
    pair = Adversaries(student, teacher, shape, options)
    try:
        for number in range(options.rounds):
            yield float(pair.round(number))
    finally:
        pair.end()


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """No gradients of its parameters, only through them."""
    changed = [parameter for parameter in network.parameters() if parameter.requires_grad]
    try:
        for parameter in changed:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in changed:
            parameter.requires_grad_(True)


def _layer(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.LeakyReLU(_SLOPE))
