"""How do training images vary? Whole batches at a time, on their device."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

DEGREES = 4.0
SHIFT = 3
CROP_PADDING = 4

Augmentation = Callable[[Tensor, torch.Generator], Tensor]
"""From normalised images (batch, channels, height, width) and a CPU generator to images of the same shape."""


def none(images: Tensor, generator: torch.Generator) -> Tensor:
    """Leave images as they are."""
    return images


def rotation(images: Tensor, generator: torch.Generator) -> Tensor:
    """Turn each image by an angle uniform in +-4 degrees."""
    degrees = torch.empty(len(images)).uniform_(-DEGREES, DEGREES, generator=generator)
    return rotate(images, degrees.to(images.device))


def shift_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of the images; shift each by -3 ... 3 pixels along both axes, repeating the border."""
    rows, columns = (_uniform(-SHIFT, SHIFT, len(images), generator).to(images.device) for _ in range(2))
    return mirror(shift(images, rows, columns), _coin(len(images), generator).to(images.device))


def crop_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Pad by 4 zeros on all sides, crop to the old size at a random place, mirror half of the images."""
    top, left = (_uniform(0, 2 * CROP_PADDING, len(images), generator).to(images.device) for _ in range(2))
    return mirror(crop(images, top, left), _coin(len(images), generator).to(images.device))


AUGMENTATIONS: dict[str, Augmentation] = {
    "none": none,
    "rotation": rotation,
    "shift-flip": shift_flip,
    "crop-flip": crop_flip,
}


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Turn each image counter-clockwise about its centre, bilinear, repeating the border. `degrees` is (batch,)."""
    angles = degrees * (math.pi / 180)
    cosine, sine = angles.cos(), angles.sin()
    height, width = images.shape[2:]
    # grid_sample measures both axes from -1 to 1, so in images that are not square an angle changes with the ratio.
    turn = torch.stack([cosine, -sine * height / width, sine * width / height, cosine], 1).reshape(-1, 2)
    across = torch.arange(1 - width, width, 2, device=images.device) / width
    down = torch.arange(1 - height, height, 2, device=images.device) / height
    centred = torch.stack([across.repeat(height), down.repeat_interleave(width)])
    # One product for the whole batch; affine_grid multiplies image by image and takes five times as long.
    grid = (turn @ centred).reshape(-1, 2, height, width).permute(0, 2, 3, 1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def shift(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Move each image by whole pixels, (batch,) each, repeating the border."""
    height, width = images.shape[2:]
    rows = (torch.arange(height, device=images.device) - down[:, None]).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device) - right[:, None]).clamp(0, width - 1)
    return _take(images, rows, columns)


def crop(images: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """Pad each image by 4 zeros on all sides and cut out its old size from row `top`, column `left`, (batch,) each."""
    height, width = images.shape[2:]
    padded = F.pad(images, (CROP_PADDING,) * 4)
    rows = torch.arange(height, device=images.device) + top[:, None]
    columns = torch.arange(width, device=images.device) + left[:, None]
    return _take(padded, rows, columns)


def mirror(images: Tensor, is_mirrored: Tensor) -> Tensor:
    """Flip those images left to right whose entry in `is_mirrored`, (batch,) bool, is set."""
    return torch.where(is_mirrored[:, None, None, None], images.flip(3), images)


def _take(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    index = torch.arange(len(images), device=images.device)
    taken = images.permute(0, 2, 3, 1)[index[:, None, None], rows[:, :, None], columns[:, None, :]]
    return taken.permute(0, 3, 1, 2).contiguous()


def _uniform(low: int, high: int, count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(low, high + 1, (count,), generator=generator)


def _coin(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator) < 0.5
