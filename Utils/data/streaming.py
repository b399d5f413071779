"""How do images that fit into no memory reach the network? Worker processes decode them just before they are needed."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from Utils.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

_BORDER = 256 / 224
"""A test image is brought to this multiple of the wanted size, and its centre cut out."""

_MOST_WORKERS = 16
_READ_AHEAD = 4
"""Batches that each worker has ready."""

VARIATIONS = ("resized-crop", "resized-crop-color")
"""Augmentations that need the whole image as it was taken, so that they happen where it is decoded."""


class Variation(NamedTuple):
    """How the images of one pass vary: each by random numbers of its own, whatever worker decodes it."""

    name: str
    seed: int


@dataclass(frozen=True)
class Files:
    """Image files and labels (n,), int64; what `Split` is for images in memory."""

    root: Path
    names: Sequence[str]
    labels: Tensor
    shape: tuple[int, int, int]
    """Channels, height and width of the decoded images."""

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> "Files":
        """The same, with labels, and later its images, on a device."""
        return replace(self, labels=self.labels.to(device))

    def take(self, indices: Tensor) -> "Files":
        """Some of the files."""
        return replace(
            self,
            names=[self.names[index] for index in indices.tolist()],
            labels=self.labels[indices.to(self.labels.device)],
        )

    def batches(
        self, picks: Sequence[Tensor | slice], variation: Variation | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """uint8 images and labels of each pick, on the labels' device; raises `UserError` naming damaged files."""
        device = self.labels.device
        numbers = [_numbers(pick) for pick in picks]
        loader: DataLoader[Any] = DataLoader(
            _Decoder(self, variation),
            batch_sampler=numbers,  # type: ignore[arg-type]
            num_workers=min(len(numbers), os.cpu_count() or 1, _MOST_WORKERS),
            collate_fn=_collate,
            generator=torch.Generator(),  # its own, since networks draw from the global one
            pin_memory=device.type == "cuda",
            prefetch_factor=_READ_AHEAD if numbers else None,
        )
        for pick, (images, damaged) in zip(picks, loader, strict=True):
            if damaged:
                raise UserError(f"images in {self.root} cannot be read: {', '.join(damaged)}; replace or delete them")
            chosen = self.labels[pick] if isinstance(pick, slice) else self.labels[pick.to(device)]
            yield images.to(device, non_blocking=True), chosen


def _numbers(pick: Tensor | slice) -> list[int]:
    return list(range(pick.start, pick.stop)) if isinstance(pick, slice) else pick.tolist()


class _Decoder(Dataset[Tensor | str]):
    """Images by number; the name of the file and the reason where one cannot be read."""

    def __init__(self, files: Files, variation: Variation | None) -> None:
        self.files, self.variation = files, variation
        self.transform = make_transform(files.shape, variation.name if variation else None)

    def __getitem__(self, index: int) -> Tensor | str:
        from PIL import Image

        name = self.files.names[index]
        try:
            with Image.open(self.files.root / name) as file:
                image = file.convert("L" if self.files.shape[0] == 1 else "RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            return f"{name} ({error})"
        return self._varied(image, index)

    def _varied(self, image: "Image", index: int) -> Tensor:
        if self.variation is None:
            return self.transform(image)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.variation.seed + index)
            return self.transform(image)


def make_transform(shape: tuple[int, int, int], variation: str | None = None) -> Any:
    """torchvision's transforms from an image to uint8 (channels, height, width), at random if there is a variation.

    None: the centre, as in tests. "resized-crop": a random part of 8% to 100% of the image, mirrored or not.
    "resized-crop-color": a part of 20% to 100%, with colours changed, too, as the synaptic-flow program has it.
    """
    from torchvision.transforms import v2

    size = list(shape[1:])
    if variation is None:
        wide = [round(_BORDER * side) for side in size]
        # One number keeps the ratio of the sides: the shorter one is brought to it.
        return v2.Compose([v2.Resize(max(wide)), v2.CenterCrop(size), v2.PILToTensor()])
    if variation == "resized-crop":
        return v2.Compose([v2.RandomResizedCrop(size), v2.RandomHorizontalFlip(), v2.PILToTensor()])
    return v2.Compose([
        v2.RandomResizedCrop(size, scale=(0.2, 1)), v2.RandomGrayscale(0.2), v2.ColorJitter(0.4, 0.4, 0.4, 0.4),
        v2.RandomHorizontalFlip(), v2.PILToTensor(),
    ])  # fmt: skip


def _collate(images: list[Tensor | str]) -> tuple[Tensor, list[str]]:
    damaged = [image for image in images if isinstance(image, str)]
    return torch.stack([image for image in images if isinstance(image, Tensor)] or [torch.empty(0)]), damaged
