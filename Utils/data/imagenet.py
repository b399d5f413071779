"""ImageNet (ILSVRC 2012), complete or in part: photographs of 1,000 classes, streamed because they exceed memory."""

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch

from Utils.data.folders.listing import find_split
from Utils.data.image_folder import ImageFolder
from Utils.data.image_spec import ImageSpec, ImageStreams
from Utils.data.registry import DATASETS, Facts
from Utils.data.streaming import Files
from Utils.files import is_folder


class ImageNet(ImageFolder):
    """`train/CLASS/*` and `val/CLASS/*` below the data folder or its subfolder `imagenet`, decoded in every pass."""

    official: ClassVar[tuple[int, int, int]] = (1000, 1281167, 50000)
    """Numbers of classes, training images and test images."""

    def __init__(self, folder: Path, spec: ImageSpec) -> None:
        inner = folder / "imagenet"
        super().__init__(inner if is_folder(inner) else folder, spec)

    def find(self) -> bool:
        """Whether the folders of both sets exist; raises `UserError` if they hold no images."""
        return is_folder(self.folder) and find_split(self.folder) is not None and super().find()

    def check_network(self) -> None:
        """Raise `ConnectionError`: ImageNet cannot be downloaded."""
        raise ConnectionError("it is given to registered users only, and expected as train/CLASS/* and val/CLASS/*")

    def download(self) -> None:
        """Raise `ConnectionError`: ImageNet cannot be downloaded."""
        self.check_network()

    def facts(self) -> Facts:
        """Number of classes and set sizes; a part of ImageNet also has a key, computed from file names and sizes."""
        listing = self.listing
        sizes = (len(listing.classes), len(listing.train), len(listing.test))
        return Facts(*sizes, None if sizes == self.official else self._content)

    @cached_property
    def _content(self) -> str:
        files = [(file, size) for file, size, _ in self.stat_files()]
        return hashlib.blake2b(json.dumps(files).encode(), digest_size=8).hexdigest()

    def load(self) -> ImageStreams:  # type: ignore[override]
        """Both sets as files; no image is decoded yet."""
        listing, entry = self.listing, DATASETS["imagenet"]
        assert entry.mean is not None and entry.std is not None and entry.input_shape is not None
        channels = self.spec.channels or entry.input_shape[0]
        shape = (channels, *(self.spec.size or entry.input_shape[1:]))
        train, test = (
            Files(self.folder, names, torch.tensor(labels), shape)
            for names, labels in ((listing.train, listing.train_labels), (listing.test, listing.test_labels))
        )
        return ImageStreams(train, test, len(listing.classes), entry.mean, entry.std)
