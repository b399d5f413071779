"""Registry of data sets, readable without torch.

To add a data set, write a class with `find`, `check_network`, `download` and `load` in `Utils/data/sources.py` or a new
file, and add one entry below.
"""

from __future__ import annotations

from typing import NamedTuple


class Facts(NamedTuple):
    """Facts about a data set that are required to plan a run."""

    classes: int
    train_size: int
    test_size: int
    key: str | None = None
    """Identifies the content of the user's own images; None for a data set with fixed content."""


class DataSource(NamedTuple):
    """One entry of the registry."""

    target: str
    label: str
    about: str
    facts: Facts | None
    """None: determined from the files."""
    input_shape: tuple[int, int, int] | None
    """Channels, height, width; None if images take the architecture's input size or keep their own."""
    mean: tuple[float, ...] | None
    """Per channel, of the training images scaled to 0 ... 1; one value serves all channels. None: measured."""
    std: tuple[float, ...] | None
    augmentation: str
    """Default augmentation of recipes; see `Utils/data/augmentation.py`."""
    is_streamed: bool = False
    """Decoded in every pass, because the images do not fit into memory."""
    is_embedded: bool = False
    """Part of an installed library: no file, no download."""


_CIFAR = "shift-flip"

DATASETS: dict[str, DataSource] = {
    "digits": DataSource(
        "Utils.data.sources:Digits", "digits", "real handwritten digits, embedded in scikit-learn, at any size",
        Facts(10, 1437, 360), None, (0.3053,), (0.3247,), "none", is_embedded=True,
    ),
    "mnist": DataSource(
        "Utils.data.sources:MNIST", "MNIST", "handwritten digits, downloaded", Facts(10, 60000, 10000), (1, 28, 28),
        (0.1307,), (0.3081,), "rotation",
    ),
    "fashion-mnist": DataSource(
        "Utils.data.sources:FashionMNIST", "Fashion-MNIST", "articles of clothing, downloaded", Facts(10, 60000, 10000),
        (1, 28, 28), (0.2860,), (0.3530,), "rotation",
    ),
    "cifar10": DataSource(
        "Utils.data.sources:CIFAR10", "CIFAR-10", "tiny photographs, downloaded", Facts(10, 50000, 10000), (3, 32, 32),
        (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), _CIFAR,
    ),
    "cifar100": DataSource(
        "Utils.data.sources:CIFAR100", "CIFAR-100", "tiny photographs, downloaded", Facts(100, 50000, 10000),
        (3, 32, 32), (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762), _CIFAR,
    ),
    "tinyimagenet": DataSource(
        "Utils.data.tiny_imagenet:TinyImageNet", "Tiny ImageNet", "small photographs, downloaded",
        Facts(200, 100000, 10000), (3, 64, 64), (0.4802, 0.4481, 0.3975), (0.2770, 0.2691, 0.2821), _CIFAR,
    ),
    "imagenet": DataSource(
        "Utils.data.imagenet:ImageNet", "ImageNet", "photographs, decoded in every pass; the folder, or a part", None,
        (3, 224, 224), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "resized-crop",
        is_streamed=True,
    ),
    "imagefolder": DataSource(
        "Utils.data.image_folder:ImageFolder", "images", "your own images, in folders named after their classes",
        None, None, None, None, "none",
    ),
}  # fmt: skip

FALLBACK = "digits"
"""Replacement for an architecture's default data set if that is not available."""
