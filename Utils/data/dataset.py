"""Which images does a run see, and in which batches?

Images live as uint8 tensors on the device; a batch is picked, normalised and augmented there as a whole. Those of data
sets that fit into no memory are streamed from disk (`Utils/data/streaming.py`).
"""

from collections.abc import Iterator, Sequence
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
from Utils.data.image_spec import Examples, ImageArrays, ImageSpec, ImageStreams
from Utils.data.registry import DATASETS, FALLBACK, Facts
from Utils.data.streaming import VARIATIONS, Files, Variation
from Utils.distributed.process_group import Share
from Utils.errors import UserError

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Split:
    """Images (n, channels, height, width), uint8, and labels (n,), int64, on one device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def to(self, device: torch.device | str) -> "Split":
        """The same on a device."""
        return Split(self.images.to(device), self.labels.to(device))

    def take(self, indices: Tensor) -> "Split":
        """Some of the images."""
        return Split(self.images[indices], self.labels[indices])

    def batches(self, picks: Sequence[Tensor | slice]) -> Iterator[Batch]:
        """uint8 images and labels of each pick, which is a range or indices on the CPU."""
        for pick in picks:
            if isinstance(pick, slice):
                yield self.images[pick], self.labels[pick]
            else:
                indices = pick.to(self.labels.device)
                yield self.images.index_select(0, indices), self.labels.index_select(0, indices)


@dataclass(frozen=True)
class Data:
    """A data set."""

    name: str
    classes: int
    train: Split | Files
    test: Split | Files
    validation: Split | Files | None
    factor: Tensor
    offset: Tensor
    """A normalised image is uint8 image * factor + offset; both (1, channels or 1, 1, 1)."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self.train.shape

    def normalised(self, images: Tensor) -> Tensor:
        """float32 images with the training set's mean 0 and standard deviation 1."""
        return images.to(torch.float32).mul_(self.factor).add_(self.offset)

    def training_batches(
        self, sample: int, batch_size: int, augmentation: str, positions: Sequence[int] | None = None, skipped: int = 0
    ) -> Iterator[Batch]:
        """Batches without end: each pass in a new random order, the images that fill no whole batch left out.

        `positions` are those to take of each batch: the very images, varied in the same way, that stand there. The
        first `skipped` batches are left out, and the others are what they are after these.
        """
        if batch_size > len(self.train):
            raise UserError(f"--batch_size={batch_size} is more than the {len(self.train)} training images")
        order_generator = randomness.generator(sample, "data order")
        augmentation_generator = randomness.generator(sample, "augmentation")
        taken = None if positions is None else torch.tensor(positions)
        is_decoded = isinstance(self.train, Files) and augmentation in VARIATIONS
        augment = AUGMENTATIONS["none" if is_decoded else augmentation]

        def stream() -> Iterator[Batch]:
            left_out = skipped
            while True:
                order = torch.randperm(len(self.train), generator=order_generator)
                picks = order.split(batch_size)[: len(order) // batch_size]
                here = min(left_out, len(picks))
                left_out -= here
                if taken is not None:
                    picks = [indices[taken] for indices in picks]
                if isinstance(self.train, Files) and is_decoded:
                    seed = int(torch.randint(1 << 31, (), generator=augmentation_generator))
                    batches = self.train.batches(picks[here:], Variation(augmentation, seed))
                else:
                    for _ in range(here):
                        augment.draw(batch_size, augmentation_generator)
                    batches = self.train.batches(picks[here:])
                for images, labels in batches:
                    yield augment(self.normalised(images), augmentation_generator, batch_size, taken), labels

        return stream()

    def prune_examples(self, sample: int, count: int, batch_size: int) -> "Batches":
        """`count` random training images (all, if there are fewer), not augmented."""
        generator = randomness.generator(sample, "prune examples")
        chosen = torch.randperm(len(self.train), generator=generator)[:count]
        return Batches(self, self.train, batch_size, chosen)


@dataclass(frozen=True)
class Batches:
    """Normalised batches of a split, in order, of nearly equal size, as often as wanted."""

    data: Data
    split: Split | Files
    batch_size: int
    """Images per batch at least, where there are so many; what is left over is spread among the batches."""
    indices: Tensor | None = None
    """The images to take, on the CPU; None: all."""
    share: Share = Share()
    """Which of the batches to take."""

    def __iter__(self) -> Iterator[Batch]:
        count = len(self.split) if self.indices is None else len(self.indices)
        batches = max(1, count // self.batch_size)
        # Batches differ by one image at most: a short last one would have poor statistics, or, alone, none at all.
        bounds = [count * index // batches for index in range(batches + 1)]
        parts = [slice(start, end) for start, end in pairwise(bounds)][self.share.number :: self.share.of]
        picks = parts if self.indices is None else [self.indices[part] for part in parts]
        for images, labels in self.split.batches(picks):
            yield self.data.normalised(images), labels


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
    frame: ImageSpec,
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
    train, test = (
        (found.train, found.test) if isinstance(found, ImageStreams) else (Split(*found.train), Split(*found.test))
    )
    if not 0 <= validation < len(train):
        raise UserError(f"--validation={validation} must be less than the {len(train)} training images")
    held_out = None
    if validation:
        order = torch.randperm(len(train), generator=randomness.generator(sample, "validation"))
        held_out, train = train.take(order[:validation]).to(device), train.take(order[validation:])
    channels = train.shape[0]
    for flag, given in (("mean", mean), ("std", std)):
        if given is not None and len(given) not in (1, channels):
            raise UserError(f"--{flag} has {len(given)} values, the images have {channels} channel")
    means, stds = _per_channel(mean or found.mean), _per_channel(std or found.std)
    return Data(
        name=name,
        classes=found.classes,
        train=train.to(device),
        test=test.to(device),
        validation=held_out,
        factor=(1 / (255 * stds)).to(device),
        offset=(-means / stds).to(device),
    )


_PROVIDED: dict[tuple[str, str, ImageSpec], ImageArrays] = {}


def provide(name: str, path: str, frame: ImageSpec, images: ImageArrays) -> None:
    """Make images what `read` gives, for a process that cannot read them."""
    _PROVIDED[name, path, frame] = images


@lru_cache(maxsize=1)
def read(name: str, path: str, frame: ImageSpec) -> ImageArrays | ImageStreams:
    """Images and labels of both sets, read once for all runs of a command."""
    if (name, path, frame) in _PROVIDED:
        return _PROVIDED[name, path, frame]
    entry, loaded = DATASETS[name], _source(name, path, frame).load()
    if isinstance(loaded, ImageStreams):
        return loaded
    if not isinstance(loaded, ImageArrays):
        assert entry.facts is not None and entry.mean is not None and entry.std is not None
        train, test = loaded
        _check(name, path, train, test)
        loaded = ImageArrays(train, test, entry.facts.classes, entry.mean, entry.std)
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
        labelled = f" with {len(labels)} and {len(test_labels)} labels"
        raise UserError(f"{path} holds {found}{labelled}, not {name}'s {expected[0]} and {expected[1]}")
    if entry.input_shape not in (None, tuple(images.shape[1:])) or int(labels.max()) >= entry.facts.classes:
        found = f"images of {tuple(images.shape[1:])} and labels up to {int(labels.max())}"
        raise UserError(f"{path} holds {found}, not {name}'s {entry.input_shape} in {entry.facts.classes} classes")


def chance(split: Split | Files) -> float:
    """The share of the most frequent class: what a network reaches that always gives the same answer."""
    return int(torch.bincount(split.labels).max()) / len(split)


_ANY = ImageSpec((1, 1, 1))
"""For questions that no pixel answers."""


def _per_channel(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).reshape(1, -1, 1, 1)


def _source(name: str, path: str, frame: ImageSpec) -> Any:
    module, loader = DATASETS[name].target.split(":")
    return getattr(import_module(module), loader)(Path(path), frame)
