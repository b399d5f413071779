"""Data set of a run: chooses and loads it, and yields normalised batches.

Images are held as uint8 tensors on the device. Each batch is selected, normalised and augmented there as a whole. A
data set too large for memory is streamed from disk (`Utils/data/streaming.py`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from Utils import randomness
from Utils.data.augmentation import AUGMENTATIONS
from Utils.data.image_spec import Examples, ImageArrays, ImageSpec, ImageStreams, check_examples
from Utils.data.registry import DATASETS, FALLBACK, Facts
from Utils.data.split import Batch, Split
from Utils.data.streaming import VARIATIONS, Files, Variation
from Utils.distributed.process_group import Share
from Utils.errors import UserError


@dataclass(frozen=True)
class Data:
    """A loaded data set: its splits and its normalisation."""

    name: str
    classes: int
    train: Split | Files
    test: Split | Files
    validation: Split | Files | None
    factor: Tensor
    offset: Tensor
    """A normalised image is uint8 image * factor + offset; both have shape (1, channels, 1, 1) or (1, 1, 1, 1)."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self.train.shape

    def normalised(self, images: Tensor) -> Tensor:
        """float32 images with pixels normalised by the constants of the data set, or of the recipe or flags."""
        return images.to(torch.float32).mul_(self.factor).add_(self.offset)

    def training_batches(
        self, sample: int, batch_size: int, augmentation: str, positions: Sequence[int] | None = None, skipped: int = 0
    ) -> Iterator[Batch]:
        """Yield batches without end; each pass has a new random order and drops the images of an incomplete batch.

        `positions` selects the rows of each batch to yield; images and augmentation equal those of the whole batch.
        The first `skipped` batches are omitted, and all later batches are the same as without skipping. Raises
        `UserError` if a batch is larger than the training set.
        """
        if batch_size > len(self.train):
            raise UserError(f"--batch_size={batch_size} is more than the {len(self.train)} training images")
        order_generator = randomness.generator(sample, "data order")
        augmentation_generator = randomness.generator(sample, "augmentation")
        rows = None if positions is None else torch.tensor(positions)
        is_decoded = isinstance(self.train, Files) and augmentation in VARIATIONS
        augment = AUGMENTATIONS["none" if is_decoded else augmentation]

        def stream() -> Iterator[Batch]:
            left_to_skip = skipped
            while True:
                order = torch.randperm(len(self.train), generator=order_generator)
                picks = order.split(batch_size)[: len(order) // batch_size]
                skipped_now = min(left_to_skip, len(picks))
                left_to_skip -= skipped_now
                if rows is not None:
                    picks = [indices[rows] for indices in picks]
                if isinstance(self.train, Files) and is_decoded:
                    seed = int(torch.randint(1 << 31, (), generator=augmentation_generator))
                    batches = self.train.batches(picks[skipped_now:], Variation(augmentation, seed))
                else:
                    for _ in range(skipped_now):
                        augment.draw(batch_size, augmentation_generator)
                    batches = self.train.batches(picks[skipped_now:])
                for images, labels in batches:
                    changed = augment(self.normalised(images), self.offset, augmentation_generator, batch_size, rows)
                    yield changed, labels

        return stream()

    def prune_examples(self, sample: int, count: int, batch_size: int) -> "Batches":
        """Batches of `count` random training images (of all images if there are fewer), without augmentation."""
        generator = randomness.generator(sample, "prune examples")
        indices = torch.randperm(len(self.train), generator=generator)[:count]
        return Batches(self, self.train, batch_size, indices)


@dataclass(frozen=True)
class Batches:
    """Normalised batches of a split, in order and of nearly equal size; can be iterated repeatedly."""

    data: Data
    split: Split | Files
    batch_size: int
    """Minimum number of images per batch, unless the split is smaller; the remainder is spread over the batches."""
    indices: Tensor | None = None
    """Indices of the images to use, on the CPU; None: all images."""
    share: Share = Share()
    """The batches to yield: every `share.of`-th, starting at `share.number`."""

    def __iter__(self) -> Iterator[Batch]:
        count = len(self.split) if self.indices is None else len(self.indices)
        batches = max(1, count // self.batch_size)
        # Batch sizes differ by at most one: a short last batch would have poor statistics, and one image has none.
        bounds = [count * index // batches for index in range(batches + 1)]
        ranges = [slice(start, end) for start, end in pairwise(bounds)][self.share.number :: self.share.of]
        picks = ranges if self.indices is None else [self.indices[part] for part in ranges]
        for images, labels in self.split.batches(picks):
            yield self.data.normalised(images), labels


def choose(
    name: str | None, default: str | None, path: str, path_is_given: bool, may_download: bool = True
) -> tuple[str, str | None]:
    """Choose the data set of a run and download it if necessary; returns its name, and a warning about a substitute.

    A data set given by `name` is required. Without a name, the architecture's `default` is used. If that is neither on
    disk nor downloadable, the embedded digits replace it, unless the user gave a folder. Raises `UserError`.
    """
    wanted = name or default
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
    with _reading(path):
        source = _source(wanted, path, _ANY)
        if path_is_given and not DATASETS[wanted].is_embedded and not folder.is_dir():
            raise UserError(f"--path_to_data={path} is no folder; give the one that holds {wanted}")
        if source.find():
            return wanted, None
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
    """Whether the data set is on disk."""
    with _reading(path):
        return _source(name, path, _ANY).find()


@lru_cache
def facts(name: str, path: str) -> Facts:
    """Classes, sizes and, for the user's own images, a key of the content; raises `UserError` for damaged images."""
    with _reading(path):
        return DATASETS[name].facts or _source(name, path, _ANY).facts()


def load(
    name: str,
    path: str,
    spec: ImageSpec,
    sample: int = 0,
    validation: int = 0,
    device: torch.device | str = "cpu",
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> Data:
    """Read the data set that `choose` returned, and move it to the device.

    The sample decides which `validation` images are held out. `mean` and `std` refer to images scaled to 0 ... 1 and
    default to those of the training set. Raises `UserError` for damaged files, for too many held-out images, and for
    images that do not fit the spec.
    """
    return prepare(name, read(name, path, spec), sample, validation, device, mean, std)


def prepare(
    name: str,
    images: ImageArrays | ImageStreams,
    sample: int = 0,
    validation: int = 0,
    device: torch.device | str = "cpu",
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> Data:
    """Hold out images of a data set that `read` returned, and move it to the device; arguments are those of `load`."""
    train, test = (
        (images.train, images.test) if isinstance(images, ImageStreams) else (Split(*images.train), Split(*images.test))
    )
    if not 0 <= validation < len(train):
        raise UserError(f"--validation={validation} must be less than the {len(train)} training images")
    held_out = None
    if validation:
        order = torch.randperm(len(train), generator=randomness.generator(sample, "validation"))
        held_out, train = train.take(order[:validation]).to(device), train.take(order[validation:])
    channels = train.shape[0]
    for flag, values in (("mean", mean), ("std", std)):
        if values is not None and len(values) not in (1, channels):
            raise UserError(f"--{flag} has {len(values)} values; give one value, or one per image channel ({channels})")
    means, stds = _per_channel(mean or images.mean), _per_channel(std or images.std)
    return Data(
        name=name,
        classes=images.classes,
        train=train.to(device),
        test=test.to(device),
        validation=held_out,
        factor=(1 / (255 * stds)).to(device),
        offset=(-means / stds).to(device),
    )


@lru_cache(maxsize=1)
def read(name: str, path: str, spec: ImageSpec) -> ImageArrays | ImageStreams:
    """Images and labels of both sets, read once for all runs of a command."""
    entry = DATASETS[name]
    with _reading(path):
        content = _source(name, path, spec).load()
    if isinstance(content, ImageStreams):
        return content
    if not isinstance(content, ImageArrays):
        assert entry.facts is not None and entry.mean is not None and entry.std is not None
        train, test = content
        _check(name, path, train, test)
        content = ImageArrays(train, test, entry.facts.classes, entry.mean, entry.std)
    check_examples(f"{name} in {path}", content)
    (images, labels), (test_images, test_labels) = content.train, content.test
    return content._replace(train=(spec.fit(images), labels), test=(spec.fit(test_images), test_labels))


def _check(name: str, path: str, train: Examples, test: Examples) -> None:
    """Raise `UserError` unless the sizes of both sets and the shape of the images agree with the registry."""
    entry = DATASETS[name]
    assert entry.facts is not None
    (images, labels), (test_images, test_labels) = train, test
    expected = (entry.facts.train_size, entry.facts.test_size)
    if (len(images), len(test_images)) != expected or len(labels) != len(images) or len(test_labels) != expected[1]:
        sizes = f"{len(images)} training and {len(test_images)} test images"
        label_counts = f" with {len(labels)} and {len(test_labels)} labels"
        raise UserError(f"{path} holds {sizes}{label_counts}, not {name}'s {expected[0]} and {expected[1]}")
    if entry.input_shape not in (None, tuple(images.shape[1:])):
        raise UserError(f"{path} holds images of {tuple(images.shape[1:])}, not {name}'s {entry.input_shape}")


def chance(split: Split | Files) -> float:
    """Fraction of the most frequent class: the accuracy of a constant prediction."""
    return int(torch.bincount(split.labels).max()) / len(split)


@contextmanager
def _reading(path: str) -> Iterator[None]:
    """Turn what stops a data source from reading its folder into a `UserError`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"--path_to_data={path} cannot be read: {error.strerror or error}") from error


_ANY = ImageSpec((1, 1, 1))
"""Placeholder for queries that do not depend on the image shape."""


def _per_channel(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).reshape(1, -1, 1, 1)


def _source(name: str, path: str, spec: ImageSpec) -> Any:
    """The data source of the registry entry, constructed for a folder and an image spec."""
    module, loader = DATASETS[name].target.split(":")
    return getattr(import_module(module), loader)(Path(path), spec)
