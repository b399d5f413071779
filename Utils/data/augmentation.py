"""Augmentation: random changes to training images, applied to a whole batch at once on its device."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

DEGREES = 4.0
"""Largest rotation angle, in either direction."""

SHIFT = 3
"""Largest shift along each axis, in pixels."""

CROP_PADDING = 4
"""Black pixels added on each side of an image before a random crop."""

Draws = tuple[Tensor, ...]
"""Random parameters of a batch, one tensor (batch,) for each parameter."""


@dataclass(frozen=True)
class Augmentation:
    """A random transformation: a sampler for its parameters, and the transformation that applies them."""

    draw: Callable[[int, torch.Generator], Draws]
    """Draws parameters, given the number of images and a CPU generator."""
    change: Callable[..., Tensor]
    """Transforms normalised images (batch, channels, height, width), given the value of a black pixel and drawn
    parameters; the shape stays the same."""

    def __call__(
        self,
        images: Tensor,
        black: Tensor,
        generator: torch.Generator,
        batch_size: int | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Augment images, in which black pixels have the value `black` (1, channels, 1, 1).

        `positions` are the places of the images in a batch of `batch_size`. Parameters are drawn for that whole batch,
        and an image varies in the same way whether one process computes the batch or several share it.
        """
        draws = self.draw(batch_size or len(images), generator)
        if positions is not None:
            draws = tuple(draw[positions] for draw in draws)
        return self.change(images, black, *(draw.to(images.device) for draw in draws))


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Rotate each image counter-clockwise about its centre by `degrees`, (batch,): bilinear, the border is repeated."""
    angles = degrees * (math.pi / 180)
    cosine, sine = angles.cos(), angles.sin()
    height, width = images.shape[2:]
    # grid_sample measures both axes from -1 to 1, so the aspect ratio enters the rotation of non-square images.
    rotation = torch.stack([cosine, -sine * height / width, sine * width / height, cosine], 1).reshape(-1, 2)
    across = torch.arange(1 - width, width, 2, device=images.device) / width
    down = torch.arange(1 - height, height, 2, device=images.device) / height
    centred = torch.stack([across.repeat(height), down.repeat_interleave(width)])
    # One matrix product for the whole batch: affine_grid multiplies image by image and takes five times as long.
    grid = (rotation @ centred).reshape(-1, 2, height, width).permute(0, 2, 3, 1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def shift(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Shift each image by `down` and `right` whole pixels, (batch,) each; the border is repeated."""
    height, width = images.shape[2:]
    rows = (torch.arange(height, device=images.device) - down[:, None]).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device) - right[:, None]).clamp(0, width - 1)
    return _gather_pixels(images, rows, columns)


def crop(images: Tensor, black: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """Pad each image by 4 black pixels on all sides and crop it to its old size at row `top`, column `left`, (batch,).

    `black` (1, channels, 1, 1) is the value of a black pixel.
    """
    count, channels, height, width = images.shape
    border = 2 * CROP_PADDING
    padded = black.expand(count, channels, height + border, width + border).clone()
    padded[:, :, CROP_PADDING:-CROP_PADDING, CROP_PADDING:-CROP_PADDING] = images
    rows = torch.arange(height, device=images.device) + top[:, None]
    columns = torch.arange(width, device=images.device) + left[:, None]
    return _gather_pixels(padded, rows, columns)


def mirror(images: Tensor, is_mirrored: Tensor) -> Tensor:
    """Flip images left to right where `is_mirrored`, (batch,) bool, is set."""
    return torch.where(is_mirrored[:, None, None, None], images.flip(3), images)


def _gather_pixels(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    index = torch.arange(len(images), device=images.device)
    pixels = images.permute(0, 2, 3, 1)[index[:, None, None], rows[:, :, None], columns[:, None, :]]
    return pixels.permute(0, 3, 1, 2).contiguous()


def _random_integers(low: int, high: int, count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(low, high + 1, (count,), generator=generator)


def _coins(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator) < 0.5


def _signed(sizes: Tensor, generator: torch.Generator) -> Tensor:
    """Sizes with random signs, as Keras draws shifts: 0 is twice as likely as any other."""
    return torch.where(_coins(len(sizes), generator), sizes, -sizes)


def _angles(count: int, generator: torch.Generator) -> Draws:
    return (torch.empty(count).uniform_(-DEGREES, DEGREES, generator=generator),)


def _shifts(count: int, generator: torch.Generator) -> Draws:
    down, right = (_signed(_random_integers(0, SHIFT, count, generator), generator) for _ in range(2))
    return down, right, _coins(count, generator)


def _corners(count: int, generator: torch.Generator) -> Draws:
    top, left = (_random_integers(0, 2 * CROP_PADDING, count, generator) for _ in range(2))
    return top, left, _coins(count, generator)


AUGMENTATIONS: dict[str, Augmentation] = {
    "none": Augmentation(lambda count, generator: (), lambda images, black: images),
    "rotation": Augmentation(_angles, lambda images, black, degrees: rotate(images, degrees)),
    "shift-flip": Augmentation(
        _shifts, lambda images, black, down, right, coins: mirror(shift(images, down, right), coins)
    ),
    "crop-flip": Augmentation(
        _corners, lambda images, black, top, left, coins: mirror(crop(images, black, top, left), coins)
    ),
}
"""Augmentations by name: rotations by +-4 degrees; shifts by -3 ... 3 pixels along both axes; crops after padding by 4.

Angles, corners, and the sizes and signs of shifts are uniformly distributed. `shift-flip` and `crop-flip` also mirror
an image with probability 1/2.
"""
