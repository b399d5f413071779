"""Image folder: the user's own images, decoded once and cached as tensors under a key of their content.

The layout is `FOLDER/train/<class>/*` and `FOLDER/test/<class>/*` (or `val`), or `FOLDER/<class>/*`. In the second
layout, a fixed fifth of each class is the test set.
"""

import hashlib
import json
import os
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from Utils.data.decoding import SUFFIXES, Header, decode, read_headers
from Utils.data.image_spec import Examples, ImageArrays, ImageSpec, check_memory
from Utils.data.registry import Facts
from Utils.errors import UserError

LAYOUT = "FOLDER/train/CLASS/* and FOLDER/test/CLASS/*, or FOLDER/CLASS/*"

_TEST_NAMES = ("test", "val", "valid", "validation")
_TEST_SHARE = 0.2
_LARGEST = 224
"""Upper limit of the side length that is measured for images of different sizes, in pixels."""

_VERSION = 1
"""Version of the split and the decoding, part of every key: a new version replaces the cached tensors."""


@dataclass(frozen=True)
class Listing:
    """The files of both sets, as paths relative to the root of a folder, and the class index of each file."""

    classes: tuple[str, ...]
    train: tuple[str, ...]
    train_labels: tuple[int, ...]
    test: tuple[str, ...]
    test_labels: tuple[int, ...]


class Measurement(NamedTuple):
    """Content key and common image shape, from the headers of all files."""

    key: str
    height: int
    width: int
    channels: int


class ImageFolder:
    """Data source of the images below a folder."""

    def __init__(self, folder: Path, spec: ImageSpec) -> None:
        self.folder, self.spec = folder, spec

    def find(self) -> bool:
        """Whether the folder holds images; raises `UserError` with the expected layout if it does not."""
        return bool(self.listing.train)

    def check_network(self) -> None:
        """Do nothing: the user's own images cannot be downloaded."""

    def download(self) -> None:
        """Do nothing: the user's own images cannot be downloaded."""

    def facts(self) -> Facts:
        """Number of classes, set sizes and content key; reads every file unless the measurement is cached."""
        listing = self.listing
        return Facts(len(listing.classes), len(listing.train), len(listing.test), self._measurement.key)

    def load(self) -> ImageArrays:
        """Both sets and the channel statistics of the training images; raises `UserError` naming damaged files."""
        measurement = self._measurement
        size = self.spec.size or (measurement.height, measurement.width)
        name = f"{measurement.key}-{measurement.channels}x{size[0]}x{size[1]}.safetensors"
        for folder in self._cache_folders():
            images = _read_cache(folder / name)
            if images is not None:
                return images
        images = self._decode(measurement.channels, size)
        self._write_cache(name, images)
        return images

    @cached_property
    def listing(self) -> Listing:
        """The files of both sets, in a fixed order."""
        if not self.folder.is_dir():
            raise UserError(f"--path_to_data={self.folder} is no folder; --data=imagefolder needs {LAYOUT}")
        if (self.folder / "train").is_dir():
            return _list_two_sets(self.folder)
        return _list_and_split(self.folder)

    @cached_property
    def _measurement(self) -> Measurement:
        listing = self.listing
        files = (*listing.train, *listing.test)
        missing = [file for file in files if not (self.folder / file).is_file()]
        if missing:
            raise self._unreadable([f"{file} (a link to nowhere)" for file in missing], len(files))
        stats = [os.stat(self.folder / file) for file in files]
        text = json.dumps([_VERSION, [(f, s.st_size, s.st_mtime_ns) for f, s in zip(files, stats, strict=True)]])
        name = f"{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}.json"
        for folder in self._cache_folders():
            try:
                return Measurement(**json.loads((folder / name).read_text()))
            except (OSError, ValueError, TypeError):
                continue
        measurement = self._measure(files)
        for folder in self._cache_folders():
            if _try_write(folder / name, lambda path: path.write_text(json.dumps(measurement._asdict()))):
                break
        return measurement

    def _measure(self, files: Sequence[str]) -> Measurement:
        headers = read_headers([self.folder / file for file in files], f"reading {self.folder.name}")
        damaged = [f"{file} ({header})" for file, header in zip(files, headers, strict=True) if isinstance(header, str)]
        if damaged:
            raise self._unreadable(damaged, len(files))
        valid = [header for header in headers if isinstance(header, Header)]
        content = json.dumps([_VERSION, [(file, header.digest) for file, header in zip(files, valid, strict=True)]])
        sizes = {(header.height, header.width) for header in valid}
        if len(sizes) == 1:
            ((height, width),) = sizes
        else:
            shorter = statistics.median_low(min(header.height, header.width) for header in valid)
            height = width = min(shorter, _LARGEST)
        key = hashlib.blake2b(content.encode(), digest_size=8).hexdigest()
        return Measurement(key, height, width, 1 if all(header.is_grey for header in valid) else 3)

    def _decode(self, channels: int, size: tuple[int, int]) -> ImageArrays:
        listing = self.listing
        files = [self.folder / file for file in (*listing.train, *listing.test)]
        check_memory(len(files), channels, size)
        pixels, failures = decode(files, size, channels, f"decoding {self.folder.name}")
        if failures:
            root = f"{self.folder}{os.sep}"
            raise self._unreadable([failure.removeprefix(root) for failure in failures], len(files))
        images, count = torch.from_numpy(pixels), len(listing.train)
        mean, std = channel_statistics(images[:count])
        return ImageArrays(
            (images[:count], torch.tensor(listing.train_labels)), (images[count:], torch.tensor(listing.test_labels)),
            len(listing.classes), mean, std,
        )  # fmt: skip

    def _unreadable(self, damaged: list[str], total: int) -> UserError:
        names = ", ".join(damaged[:5]) + (f" and {len(damaged) - 5} more" if len(damaged) > 5 else "")
        return UserError(
            f"{len(damaged)} of {total} images in {self.folder} cannot be read: {names}; replace or delete them"
        )

    def _cache_folders(self) -> list[Path]:
        """Cache folders in order of preference: beside the images, or in the user's cache if those are read-only."""
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return [self.folder / ".cache", home / "sparse-networks"]

    def _write_cache(self, name: str, images: ImageArrays) -> None:
        (train, labels), (test, test_labels) = images.train, images.test
        tensors = {"train": train, "train_labels": labels, "test": test, "test_labels": test_labels}
        metadata = {"statistics": json.dumps([images.classes, images.mean, images.std])}
        for folder in self._cache_folders():
            if _try_write(folder / name, lambda path: save_file(tensors, path, metadata)):
                return
        warnings.warn("decoded images could not be cached: no cache folder is writable", stacklevel=2)


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


def _list_two_sets(root: Path) -> Listing:
    test_names = [name for name in _TEST_NAMES if (root / name).is_dir()]
    if not test_names:
        raise UserError(f"{root} has train/ but no test/ (or val/) beside it; expected {LAYOUT}")
    if len(test_names) > 1:
        unused = " and ".join(f"{name}/" for name in test_names[1:])
        warnings.warn(f"{root}: {test_names[0]}/ is the test set, {unused} is not used", stacklevel=2)
    train, test = images_by_class(root, "train/"), images_by_class(root, f"{test_names[0]}/")
    unknown = sorted(test.keys() - train.keys())
    if unknown:
        raise UserError(f"{root / test_names[0]} has classes that train/ lacks: {', '.join(unknown)}")
    return make_listing(root, train, test)


def _list_and_split(root: Path) -> Listing:
    train, test = {}, {}
    for name, files in images_by_class(root, "").items():
        if len(files) < 2:
            raise UserError(f"class {name!r} of {root} has one image; it needs one to train with and one to test")
        # Ordered by a hash of the name: when images are added, the others (nearly always) stay in their set.
        order = sorted(files, key=lambda file: hashlib.blake2b(file.encode(), digest_size=8).digest())
        count = max(1, round(_TEST_SHARE * len(files)))
        train[name], test[name] = sorted(order[count:]), sorted(order[:count])
    return make_listing(root, train, test)


def make_listing(root: Path, train: dict[str, list[str]], test: dict[str, list[str]]) -> Listing:
    """Create a listing from the files of each class; raises `UserError` if there are fewer than two classes."""
    classes = tuple(train)
    if len(classes) < 2:
        raise UserError(f"{root} has {len(classes)} class of images, and at least 2 are needed: {LAYOUT}")
    numbers = {name: number for number, name in enumerate(classes)}

    def flat(files: dict[str, list[str]]) -> tuple[tuple[str, ...], tuple[int, ...]]:
        pairs = [(file, numbers[name]) for name in classes for file in files.get(name, [])]
        return tuple(file for file, _ in pairs), tuple(number for _, number in pairs)

    return Listing(classes, *flat(train), *flat(test))


def images_by_class(root: Path, prefix: str) -> dict[str, list[str]]:
    """Image files of each class folder, without hidden files; raises `UserError` if a class has none.

    `prefix` is the folder of the class folders. Paths are relative to the root.
    """
    top = root / prefix
    classes = sorted(entry.name for entry in os.scandir(top) if entry.is_dir() and not entry.name.startswith("."))
    files_by_class = {name: _list_images(root, f"{prefix}{name}") for name in classes}
    if not any(files_by_class.values()):
        raise UserError(f"{top} holds no images in folders of classes; expected {LAYOUT}")
    empty = [name for name, files in files_by_class.items() if not files]
    if empty:
        raise UserError(f"no images in {', '.join(f'{prefix}{name}' for name in empty)} of {root}; delete or fill it")
    return files_by_class


def _list_images(root: Path, subfolder: str) -> list[str]:
    files = []
    for folder, folders, names in os.walk(root / subfolder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        path = Path(folder).relative_to(root).as_posix()
        images = (name for name in names if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES)
        files += [f"{path}/{name}" for name in images]
    return sorted(files)


def _read_cache(path: Path) -> ImageArrays | None:
    try:
        with safe_open(str(path), framework="pt") as file:
            classes, mean, std = json.loads((file.metadata() or {})["statistics"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        train: Examples = tensors["train"], tensors["train_labels"]
        return ImageArrays(train, (tensors["test"], tensors["test_labels"]), classes, tuple(mean), tuple(std))
    except (OSError, SafetensorError, ValueError, KeyError):
        return None


def _try_write(path: Path, write: Any) -> bool:
    """Write a file atomically; returns False if that fails."""
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except (OSError, SafetensorError):
        temporary.unlink(missing_ok=True)
        return False
    return True
