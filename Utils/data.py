"""Which images does a run see, and in which batches?

Images live as uint8 tensors on the device; a batch is picked, normalised and augmented there as a whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from Utils import DATASETS, FALLBACK, Facts, randomness
from Utils.augmentation import AUGMENTATIONS
from Utils.errors import UserError
from Utils.frame import Examples, Frame, Images

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Split:
    """Images (n, channels, height, width), uint8, and labels (n,), int64, on one device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Data:
    """A data set in memory."""

    name: str
    classes: int
    train: Split
    test: Split
    validation: Split | None
    factor: Tensor
    offset: Tensor
    """A normalised image is uint8 image * factor + offset; both (1, channels or 1, 1, 1)."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    def normalised(self, images: Tensor) -> Tensor:
        """float32 images with the training set's mean 0 and standard deviation 1."""
        return images.to(torch.float32).mul_(self.factor).add_(self.offset)

    def training_batches(self, sample: int, batch_size: int, augmentation: str) -> Iterator[Batch]:
        """Batches without end: each pass in a new random order, the images that fill no whole batch left out."""
        if batch_size > len(self.train):
            raise UserError(f"--batch_size={batch_size} is more than the {len(self.train)} training images")
        order_generator = randomness.generator(sample, "data order")
        augmentation_generator = randomness.generator(sample, "augmentation")
        augment, split = AUGMENTATIONS[augmentation], self.train

        def stream() -> Iterator[Batch]:
            while True:
                order = torch.randperm(len(split), generator=order_generator).to(split.labels.device)
                for indices in order.split(batch_size)[: len(order) // batch_size]:
                    images = self.normalised(split.images.index_select(0, indices))
                    yield augment(images, augmentation_generator), split.labels.index_select(0, indices)

        return stream()

    def prune_examples(self, sample: int, count: int, batch_size: int) -> "Batches":
        """`count` random training images (all, if there are fewer), not augmented."""
        generator = randomness.generator(sample, "prune examples")
        chosen = torch.randperm(len(self.train), generator=generator)[:count].to(self.train.labels.device)
        return Batches(self, self.train, batch_size, chosen)


@dataclass(frozen=True)
class Batches:
    """Normalised batches of a split, in order, of nearly equal size, as often as wanted."""

    data: Data
    split: Split
    batch_size: int
    """Images per batch at least, where there are so many; what is left over is spread among the batches."""
    indices: Tensor | None = None
    """The images to take; None: all."""

    def __iter__(self) -> Iterator[Batch]:
        images, labels = self.split.images, self.split.labels
        count = len(labels) if self.indices is None else len(self.indices)
        batches = max(1, count // self.batch_size)
        # Batches differ by one image at most: a short last one would have poor statistics, or, alone, none at all.
        bounds = [count * index // batches for index in range(batches + 1)]
        for start, end in pairwise(bounds):
            if self.indices is None:
                yield self.data.normalised(images[start:end]), labels[start:end]
            else:
                pick = self.indices[start:end]
                yield self.data.normalised(images.index_select(0, pick)), labels.index_select(0, pick)


def choose(
    name: str | None, own: str | None, path: str, path_is_given: bool, may_download: bool = True
) -> tuple[str, str | None]:
    """The data set of a run, downloaded if need be, and a warning if it is not the one hoped for.

    A data set that is named must be had. Left out, the architecture's own is taken, or, where that is neither on disk
    nor to be downloaded, the embedded digits, unless a folder was given to find it in. Raises `UserError`.
    """
    wanted = name or own
    if wanted is None:
        if path_is_given:
            raise UserError(f"--path_to_data={path} needs --data, to say what it holds")
        return (
            FALLBACK,
            f"this network has no data set of its own; using the embedded {FALLBACK} (--data for another)",
        )
    folder = Path(path)
    if wanted == "imagefolder" and not path_is_given:
        raise UserError("--data=imagefolder needs --path_to_data=FOLDER, the folder of the images")
    source = _source(wanted, path, _ANY)
    try:
        if path_is_given and not DATASETS[wanted].is_embedded and not folder.is_dir():
            raise UserError(f"--path_to_data={path} is no folder; give the one that holds {wanted}")
        if source.find():
            return wanted, None
    except OSError as error:
        raise UserError(f"--path_to_data={path} cannot be read: {error.strerror or error}") from error
    try:
        if not may_download:
            source.check_network()
            return wanted, f"{wanted} is not in {folder}/ and would be downloaded"
        source.download()
    except ConnectionError as error:
        missing = f"{wanted} is not in {folder}/ and cannot be downloaded ({error})"
        if name is None and not path_is_given:
            advice = f"copy it there or give its folder as --path_to_data to use {wanted}"
            return FALLBACK, f"{missing}; using the embedded {FALLBACK} instead: {advice}"
        raise UserError(f"{missing}; copy it there, give its folder as --path_to_data, or use --data=digits") from error
    return wanted, None


def is_found(name: str, path: str) -> bool:
    """Whether a data set is on disk."""
    return _source(name, path, _ANY).find()


@lru_cache
def facts(name: str, path: str) -> Facts:
    """Classes, sizes and, for the user's own images, a key of the content; raises `UserError` for damaged ones."""
    return DATASETS[name].facts or _source(name, path, _ANY).facts()


def load(
    name: str,
    path: str,
    frame: Frame,
    sample: int = 0,
    validation: int = 0,
    device: torch.device | str = "cpu",
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> Data:
    """Read a data set that `choose` has found, and move it to the device.

    The sample chooses which `validation` images are held out. `mean` and `std` are for images scaled to 0 ... 1, by
    default those of the training set. Raises `UserError` for damaged files, too many held out, or images that do not
    fit the frame.
    """
    found = read(name, path, frame)
    (images, labels), (test_images, test_labels) = found.train, found.test
    if not 0 <= validation < len(images):
        raise UserError(f"--validation={validation} must be less than the {len(images)} training images")
    held_out = None
    if validation:
        order = torch.randperm(len(images), generator=randomness.generator(sample, "validation"))
        held_out, rest = order[:validation], order[validation:]
        held_out = Split(images[held_out].to(device), labels[held_out].to(device))
        images, labels = images[rest], labels[rest]
    for flag, given in (("mean", mean), ("std", std)):
        if given is not None and len(given) not in (1, images.shape[1]):
            raise UserError(f"--{flag} has {len(given)} values, the images have {images.shape[1]} channel")
    means, stds = _per_channel(mean or found.mean), _per_channel(std or found.std)
    return Data(
        name=name,
        classes=found.classes,
        train=Split(images.to(device), labels.to(device)),
        test=Split(test_images.to(device), test_labels.to(device)),
        validation=held_out,
        factor=(1 / (255 * stds)).to(device),
        offset=(-means / stds).to(device),
    )


@lru_cache(maxsize=1)
def read(name: str, path: str, frame: Frame) -> Images:
    """Images and labels of both sets, read once for all runs of a command."""
    entry, loaded = DATASETS[name], _source(name, path, frame).load()
    if not isinstance(loaded, Images):
        assert entry.facts is not None and entry.mean is not None and entry.std is not None
        train, test = loaded
        _check(name, path, train, test)
        loaded = Images(train, test, entry.facts.classes, entry.mean, entry.std)
    (images, labels), (test_images, test_labels) = loaded.train, loaded.test
    return loaded._replace(train=(frame.fit(images), labels), test=(frame.fit(test_images), test_labels))


def _check(name: str, path: str, train: Examples, test: Examples) -> None:
    """Raise `UserError` unless sets have the sizes that the registry says."""
    entry = DATASETS[name]
    assert entry.facts is not None
    (images, labels), (test_images, test_labels) = train, test
    expected = (entry.facts.train_size, entry.facts.test_size)
    if (len(images), len(test_images)) != expected or len(labels) != len(images) or len(test_labels) != expected[1]:
        found = f"{len(images)} training and {len(test_images)} test images"
        raise UserError(f"{path} holds {found} (labels: {len(labels)}, {len(test_labels)}), not {name}'s {expected}")
    if entry.input_shape not in (None, tuple(images.shape[1:])) or int(labels.max()) >= entry.facts.classes:
        found = f"images of {tuple(images.shape[1:])} and labels up to {int(labels.max())}"
        raise UserError(f"{path} holds {found}, not {name}'s {entry.input_shape} in {entry.facts.classes} classes")


def chance(split: Split) -> float:
    """The share of the most frequent class: what a network reaches that always gives the same answer."""
    return int(torch.bincount(split.labels).max()) / len(split)


_ANY = Frame((1, 1, 1))
"""For questions that no pixel answers."""


def _per_channel(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).reshape(1, -1, 1, 1)


def _source(name: str, path: str, frame: Frame) -> Any:
    module, loader = DATASETS[name].target.split(":")
    return getattr(import_module(module), loader)(Path(path), frame)
