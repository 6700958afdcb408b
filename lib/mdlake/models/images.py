"""Images as a network sees them: one column, of raw bytes or of encoded images (PNG, JPEG, ...).

A pixel is its byte / 255, less the mean and divided by the deviation of its channel over the train split where the
recipe asks for that; else as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch

from mdlake.errors import CorruptError, InvalidArgumentError
from mdlake.models.features import column_of
from mdlake.models.shards import Shards

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # Pillow's names of 1, 3 and 4 channels of 8 bits


@dataclass(frozen=True)
class ImageOptions:
    """As a recipe has it: the column, the shape (channels, height, width), whether pixels are standardised."""

    column: str
    shape: tuple[int, int, int]
    normalize: bool = False

    @property
    def columns(self) -> list[str]:
        return [self.column]


@dataclass(frozen=True)
class ImageSpec:
    """A binary column of images of one `shape` (channels, height, width); raw bytes are in that order.

    `mean` and `deviation`: one for each channel, in units of pixel / 255.
    """

    kind: ClassVar[str] = "image"
    column: str
    shape: tuple[int, int, int]
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("shape", "mean", "deviation"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.shape) != 3 or not all(type(size) is int and 0 < size < 1 << 16 for size in self.shape):
            raise InvalidArgumentError(f"an image has channels, height and width, positive numbers, not {self.shape}")
        for moments in (self.mean, self.deviation):
            if len(moments) not in (0, self.shape[0]):
                raise InvalidArgumentError(f"{self.shape[0]} channels have as many moments, not {len(moments)}")

    @property
    def columns(self) -> list[str]:
        return [self.column]

    def transform(self, table: pa.Table) -> tuple[np.ndarray, ...]:
        """uint8 [rows, channels, height, width]."""
        array = column_of(table, self.column)
        if not (pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type)):
            raise InvalidArgumentError(f"images are binary, but the column is {array.type}", column=self.column)
        if array.null_count:
            raise InvalidArgumentError("there are rows without an image; leave them out (ingest)", column=self.column)
        size = int(np.prod(self.shape))
        offsets = np.frombuffer(array.buffers()[1], np.int64 if pa.types.is_large_binary(array.type) else np.int32)
        offsets = offsets[array.offset : array.offset + len(array) + 1]
        if len(array) and (np.diff(offsets) == size).all():
            data = np.frombuffer(array.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
            return (data.reshape(len(array), *self.shape),)
        images = [self._decode(cell, row) for row, cell in enumerate(array.to_pylist())]
        return (np.stack(images) if images else np.zeros((0, *self.shape), np.uint8),)

    def tensors(self, arrays: Sequence[np.ndarray]) -> tuple[torch.Tensor, ...]:
        """float32 [rows, channels, height, width]."""
        pixels = torch.from_numpy(np.ascontiguousarray(arrays[0])).float() / 255
        if self.mean:
            pixels -= torch.tensor(self.mean).reshape(-1, 1, 1)
        if self.deviation:
            pixels /= torch.tensor(self.deviation).reshape(-1, 1, 1)
        return (pixels,)

    @property
    def names(self) -> tuple[str, ...]:
        return ("image",)

    def made_up(self, rows: int, seed: int = 0) -> tuple[np.ndarray, ...]:
        """uint8 [rows, channels, height, width]."""
        return (np.random.default_rng(seed).integers(0, 256, (rows, *self.shape), np.uint8),)

    def to_json(self) -> dict[str, Any]:
        moments = {"mean": list(self.mean), "deviation": list(self.deviation)}
        return {"image": self.column, "shape": list(self.shape), **{k: v for k, v in moments.items() if v}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ImageSpec:
        try:
            return cls(str(data["image"]), data["shape"], data.get("mean", ()), data.get("deviation", ()))
        except (KeyError, TypeError, InvalidArgumentError) as error:
            raise CorruptError(f"not a specification of images: {error}") from error

    def _decode(self, cell: bytes, row: int) -> np.ndarray:
        from PIL import Image, UnidentifiedImageError

        channels, height, width = self.shape
        try:
            with Image.open(BytesIO(cell)) as image:
                if (image.height, image.width) != (height, width):
                    raise InvalidArgumentError(
                        f"row {row} is {image.height} x {image.width} pixels, expected {height} x {width}",
                        column=self.column,
                    )
                pixels = np.asarray(image.convert(_MODES[channels]), np.uint8)
        except (UnidentifiedImageError, OSError, SyntaxError, KeyError, Image.DecompressionBombError) as error:
            raise InvalidArgumentError(
                f"row {row} has {len(cell)} bytes, which are neither {'x'.join(map(str, self.shape))} pixels nor "
                "a whole encoded image of as many channels",
                column=self.column,
            ) from error
        return pixels.reshape(height, width, channels).transpose(2, 0, 1)


@dataclass(frozen=True)
class PixelTask:
    """Sum the pixels of one file of the train split."""

    shards: Shards
    file: int
    spec: ImageSpec

    @property
    def name(self) -> str:
        return self.shards.files[self.file]


def fit_images(
    shards: Shards, options: ImageOptions, spread: Callable[..., Iterable[tuple[int, np.ndarray, np.ndarray]]]
) -> ImageSpec:
    """The specification; with `normalize` a pass over the train split, a task per file. `spread` maps over tasks."""
    spec = ImageSpec(options.column, options.shape)
    if not options.normalize:
        return spec
    counted = list(spread(sum_pixels, [PixelTask(shards, file, spec) for file in range(len(shards.files))]))
    count = sum(pixels for pixels, _, _ in counted)
    if not count:
        raise InvalidArgumentError("the train split is empty: nothing can be learnt", url=shards.store.url)
    mean = np.sum([sums for _, sums, _ in counted], axis=0) / count
    deviation = np.sqrt(np.sum([squares for _, _, squares in counted], axis=0) / count - mean**2)
    rounded = [[float(f"{value:.4g}") for value in moments / 255] for moments in (mean, deviation)]
    return ImageSpec(options.column, options.shape, tuple(rounded[0]), tuple(value or 1.0 for value in rounded[1]))


def sum_pixels(task: PixelTask) -> tuple[int, np.ndarray, np.ndarray]:
    """Pixels of each channel in a file, their sums and sums of squares, exactly: int64 [channels]."""
    channels = task.spec.shape[0]
    count, sums, squares = 0, np.zeros(channels, np.int64), np.zeros(channels, np.int64)
    for unit in task.shards.units_of(task.file):
        (pixels,) = task.spec.transform(task.shards.read(unit, task.spec.columns))
        count += pixels[:, 0].size
        sums += pixels.sum(axis=(0, 2, 3), dtype=np.int64)
        squares += np.square(pixels, dtype=np.int64).sum(axis=(0, 2, 3))
    return count, sums, squares
