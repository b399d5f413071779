"""Streaming: worker processes decode images just before they are needed, for data sets larger than memory."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from Utils.data.folders.decoding import to_mode
from Utils.data.folders.messages import Failure, reason, unreadable_images

if TYPE_CHECKING:
    from PIL.Image import Image

_BORDER = 256 / 224
"""A test image is resized to this multiple of the input size before its centre is cropped."""

_MAX_WORKERS = 16

_READ_AHEAD = 4
"""Batches prefetched by each worker."""

VARIATIONS = ("resized-crop", "resized-crop-color")
"""Augmentations of the original image, before resizing; they are therefore applied during decoding."""


class Variation(NamedTuple):
    """Augmentation of one pass: each image has its own random numbers, independent of the worker that decodes it."""

    name: str
    seed: int


@dataclass(frozen=True)
class Files:
    """Image files and labels (n,), int64: the counterpart of `Split` for images on disk."""

    root: Path
    names: Sequence[str]
    labels: Tensor
    shape: tuple[int, int, int]
    """Channels, height and width of the decoded images."""

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> "Files":
        """The same files, with labels and all images decoded later on another device."""
        return replace(self, labels=self.labels.to(device))

    def take(self, indices: Tensor) -> "Files":
        """The files and labels at `indices`."""
        return replace(
            self,
            names=[self.names[index] for index in indices.tolist()],
            labels=self.labels[indices.to(self.labels.device)],
        )

    def batches(
        self, picks: Sequence[Tensor | slice], variation: Variation | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield uint8 images and labels of each pick on the labels' device; raises `UserError` naming damaged files."""
        device = self.labels.device
        index_lists = [_index_list(pick) for pick in picks]
        loader: DataLoader[Any] = DataLoader(
            _Decoder(self, variation),
            batch_sampler=index_lists,  # type: ignore[arg-type]
            num_workers=min(len(index_lists), os.cpu_count() or 1, _MAX_WORKERS),
            collate_fn=_collate,
            generator=torch.Generator(),  # separate, because networks draw from the global generator
            pin_memory=device.type == "cuda",
            prefetch_factor=_READ_AHEAD if index_lists else None,
        )
        for pick, (images, damaged) in zip(picks, loader, strict=True):
            if damaged:
                raise unreadable_images(self.root, damaged)
            labels = self.labels[pick] if isinstance(pick, slice) else self.labels[pick.to(device)]
            yield images.to(device, non_blocking=True), labels


def _index_list(pick: Tensor | slice) -> list[int]:
    return list(range(pick.start, pick.stop)) if isinstance(pick, slice) else pick.tolist()


class _Decoder(Dataset[Tensor | Failure]):
    """Decoded images by index; for an unreadable file, its name and the reason instead."""

    def __init__(self, files: Files, variation: Variation | None) -> None:
        self.files, self.variation = files, variation
        self.transform = make_transform(files.shape, variation.name if variation else None)

    def __getitem__(self, index: int) -> Tensor | Failure:
        from PIL import Image

        name = self.files.names[index]
        try:
            with Image.open(self.files.root / name) as file:
                image = to_mode(file, "L" if self.files.shape[0] == 1 else "RGB")
        except Exception as error:  # Pillow's decoders raise errors of many types on damaged files
            return name, reason(error)
        return self._transformed(image, index)

    def _transformed(self, image: "Image", index: int) -> Tensor:
        if self.variation is None:
            return self.transform(image)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.variation.seed + index)
            return self.transform(image)


def make_transform(shape: tuple[int, int, int], variation: str | None = None) -> Any:
    """Create torchvision transforms from an image to uint8 (channels, height, width), random if `variation` is given.

    None: the centre, for tests. "resized-crop": a random crop of 8% to 100% of the image, randomly mirrored.
    "resized-crop-color": a crop of 20% to 100%, also with random colour changes, as in the synaptic-flow program.
    """
    from torchvision.transforms import v2

    size = list(shape[1:])
    if variation is None:
        resized = [round(_BORDER * side) for side in size]
        # A single number preserves the aspect ratio: the shorter side is resized to it.
        return v2.Compose([v2.Resize(max(resized)), v2.CenterCrop(size), v2.PILToTensor()])
    if variation == "resized-crop":
        return v2.Compose([v2.RandomResizedCrop(size), v2.RandomHorizontalFlip(), v2.PILToTensor()])
    return v2.Compose([
        v2.RandomResizedCrop(size, scale=(0.2, 1)), v2.RandomGrayscale(0.2), v2.ColorJitter(0.4, 0.4, 0.4, 0.4),
        v2.RandomHorizontalFlip(), v2.PILToTensor(),
    ])  # fmt: skip


def _collate(images: list[Tensor | Failure]) -> tuple[Tensor, list[Failure]]:
    damaged = [image for image in images if not isinstance(image, Tensor)]
    return torch.stack([image for image in images if isinstance(image, Tensor)] or [torch.empty(0)]), damaged
