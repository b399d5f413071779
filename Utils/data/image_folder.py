"""Image folder: the user's own images, decoded once and cached as tensors under a key of their content."""

import hashlib
import json
import os
import stat
import statistics
import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from Utils.data.folders.cache import ImageCache
from Utils.data.folders.decoding import WHITE, WIDE_WHITE, Header, decode, read_headers
from Utils.data.folders.listing import Listing, list_folder
from Utils.data.folders.messages import reason, unreadable_images
from Utils.data.image_spec import ImageArrays, ImageSpec, check_memory
from Utils.data.registry import Facts

_LARGEST = 224
"""Upper limit of the side length that is measured for images of different sizes, in pixels."""

_VERSION = 1
"""Version of the split and the decoding, part of every key: a new version replaces the cached tensors."""


class Measurement(NamedTuple):
    """Content key and common form of the images, from the headers of all files."""

    key: str
    height: int
    width: int
    channels: int
    white: int
    """Largest value of the images with more than 8 bits."""


class ImageFolder:
    """Data source of the images below a folder."""

    def __init__(self, folder: Path, spec: ImageSpec) -> None:
        self.folder, self.spec = folder, spec
        self.cache = ImageCache(folder)

    def find(self) -> bool:
        """Whether the folder holds images; raises `UserError` with the expected layout if it does not."""
        return bool(self.listing.train)

    def check_network(self) -> None:
        """Do nothing: the user's own images cannot be downloaded."""

    def download(self) -> None:
        """Do nothing: the user's own images cannot be downloaded."""

    def facts(self) -> Facts:
        """Number of classes, set sizes and content key; reads every file unless the headers are cached."""
        listing = self.listing
        return Facts(len(listing.classes), len(listing.train), len(listing.test), self._measurement.key)

    def load(self) -> ImageArrays:
        """Both sets and the channel statistics of the training images; raises `UserError` naming damaged files."""
        listing, measurement = self.listing, self._measurement
        channels, size = measurement.channels, self.spec.size or (measurement.height, measurement.width)
        check_memory(len(self._files), channels, size)
        name = f"{measurement.key}-{channels}x{size[0]}x{size[1]}.safetensors"
        counts = {"train": len(listing.train), "test": len(listing.test)}
        images = self.cache.images(name, {part: (count, channels, *size) for part, count in counts.items()})
        if images is None:
            images = self._decode(size)
            if not self.cache.keep_images(name, images):
                warnings.warn("decoded images could not be cached: no cache folder is writable", stacklevel=2)
        train, test = (
            (images[part], torch.tensor(labels))
            for part, labels in (("train", listing.train_labels), ("test", listing.test_labels))
        )
        return ImageArrays(train, test, len(listing.classes), *channel_statistics(train[0]))

    @cached_property
    def listing(self) -> Listing:
        """The files of both sets, in a fixed order."""
        return list_folder(self.folder)

    @cached_property
    def _files(self) -> tuple[str, ...]:
        return (*self.listing.train, *self.listing.test)

    def stat_files(self) -> list[tuple[str, int, int]]:
        """Name, size and time of change (in ns) of each file; raises `UserError` for missing and for special files.

        Warns of images that are in both sets, by links.
        """
        rows, identities, failures = [], [], []
        for file in self._files:
            try:
                status = os.stat(f"{self.folder}/{file}")
            except FileNotFoundError:
                is_link = os.path.islink(self.folder / file)
                failures.append((file, "a link to nowhere" if is_link else "no such file"))
            except OSError as error:
                failures.append((file, reason(error)))
            else:
                if not stat.S_ISREG(status.st_mode):
                    failures.append((file, "no regular file"))
                rows.append((file, status.st_size, status.st_mtime_ns))
                identities.append((status.st_dev, status.st_ino))
        if failures:
            raise unreadable_images(self.folder, failures, len(self._files))
        train_count = len(self.listing.train)
        shared = set(identities[train_count:]).intersection(identities[:train_count])
        if shared:
            warnings.warn(f"{self.folder}: {len(shared)} images are in both sets, by links", stacklevel=2)
        return rows

    @cached_property
    def _measurement(self) -> Measurement:
        name = f"{_key([_VERSION, self.stat_files()])}.json"
        headers = self.cache.headers(name, len(self._files))
        if headers is None:
            headers = self._read_headers()
            self.cache.keep_headers(name, headers)
        return measure(self._files, headers)

    def _read_headers(self) -> list[Header]:
        headers = read_headers([self.folder / file for file in self._files], f"reading {self.folder.name}")
        failures = [(file, why) for file, why in zip(self._files, headers, strict=True) if isinstance(why, str)]
        if failures:
            raise unreadable_images(self.folder, failures, len(self._files))
        return [header for header in headers if isinstance(header, Header)]

    def _decode(self, size: tuple[int, int]) -> dict[str, Tensor]:
        paths = [self.folder / file for file in self._files]
        channels, white = self._measurement.channels, self._measurement.white
        pixels, reasons = decode(paths, size, channels, white, f"decoding {self.folder.name}")
        if reasons:
            failures = [(self._files[index], why) for index, why in reasons.items()]
            raise unreadable_images(self.folder, failures, len(self._files))
        images, count = torch.from_numpy(pixels), len(self.listing.train)
        return {"train": images[:count], "test": images[count:]}


def measure(files: Sequence[str], headers: Sequence[Header]) -> Measurement:
    """The key and the common form of the images in these files."""
    sizes = {(header.height, header.width) for header in headers}
    height, width = sizes.pop()
    if sizes:
        shorter = statistics.median_low(min(header.height, header.width) for header in headers)
        height = width = min(shorter, _LARGEST)
    channels = 1 if all(header.is_grey for header in headers) else 3
    kinds = {header.kind for header in headers}
    white = WIDE_WHITE if max(header.peak for header in headers) > WHITE else WHITE
    # Only what such images have become is added, so that other folders keep the keys of their results.
    forms = ["grey palettes"] if channels == 1 and "palette" in kinds else []
    forms += ["8 bits in wide pixels"] if white == WHITE and "wide" in kinds else []
    content = [(file, header.digest) for file, header in zip(files, headers, strict=True)]
    return Measurement(_key([_VERSION, content, *forms]), height, width, channels, white)


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of uint8 images scaled to 0 ... 1, from exact sums."""
    counts = torch.zeros(images.shape[1], 256, dtype=torch.int64)
    for part in images.split(512):
        for channel in range(images.shape[1]):
            counts[channel] += torch.bincount(part[:, channel].reshape(-1), minlength=256)
    shares = counts.double() / counts.sum(1, keepdim=True)
    levels = torch.arange(256, dtype=torch.float64) / 255
    mean = shares @ levels
    variance = (shares * (levels - mean[:, None]) ** 2).sum(1)
    # A constant channel has standard deviation 0; a divisor of 1 leaves it unscaled.
    std = torch.where(variance > 0, variance.sqrt(), 1.0)
    return tuple(mean.tolist()), tuple(std.tolist())


def _key(content: list[Any]) -> str:
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=8).hexdigest()
