"""Tiny ImageNet: 100,000 training images of 200 classes, 64 x 64 pixels, from the official folder or its archive.

Its validation set, whose labels are published, serves as the test set, as in the literature.
"""

import csv
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from Utils.data.folders.listing import Listing, images_by_class, make_listing
from Utils.data.folders.messages import first_names
from Utils.data.image_folder import ImageFolder
from Utils.data.image_spec import Examples, ImageSpec
from Utils.data.registry import DATASETS, Facts
from Utils.data.sources import check_network, damaged_file, fetch
from Utils.errors import UserError
from Utils.files import DamagedError, is_file, is_folder, reading


class TinyImageNet(ImageFolder):
    """The folder `tiny-imagenet-200`: given as the data folder, inside it, or packed there; decoded once."""

    name: ClassVar[str] = "tiny-imagenet-200"
    url: ClassVar[str] = f"http://cs231n.stanford.edu/{name}.zip"
    md5: ClassVar[str] = "90528d7ca1a48142e341f4ef8d21d0de"

    def __init__(self, folder: Path, spec: ImageSpec) -> None:
        super().__init__(folder if is_file(folder / "wnids.txt") else folder / self.name, ImageSpec((3, 64, 64)))
        self.archive = folder / f"{self.name}.zip"

    def find(self) -> bool:
        """Whether the folder is on disk; an archive beside it is verified and unpacked first."""
        if not is_folder(self.folder) and is_file(self.archive):
            self._unpack()
        return is_folder(self.folder)

    def check_network(self) -> None:
        """Raise `ConnectionError` unless the archive's server answers."""
        check_network([self.url])

    def download(self) -> None:
        """Download, verify and unpack the archive with torchvision."""
        from torchvision.datasets.utils import download_and_extract_archive

        fetch(lambda: download_and_extract_archive(self.url, str(self.archive.parent), md5=self.md5), [self.url])

    def load(self) -> tuple[Examples, Examples]:  # type: ignore[override]
        """Both sets; raises `UserError` if files are missing or damaged."""
        expected = DATASETS["tinyimagenet"].facts
        assert expected is not None
        facts = Facts(len(self.listing.classes), len(self.listing.train), len(self.listing.test))
        if facts != expected:
            advice = f"unpack {self.archive.name} again"
            raise UserError(f"{self.folder} holds {_describe(facts)}, not {_describe(expected)}; {advice}")
        images = super().load()
        return images.train, images.test

    @cached_property
    def listing(self) -> Listing:
        """The files of both sets, in a fixed order; classes are sorted by WordNet number."""
        classes = images_by_class(self.folder, "train/")
        test: dict[str, list[str]] = {}
        annotations = self.folder / "val" / "val_annotations.txt"
        if not is_file(annotations):
            raise UserError(f"{annotations} is missing; unpack {self.archive.name} again")
        try:
            with reading(annotations, "a table of images"), annotations.open(encoding="utf-8", newline="") as file:
                for name, wnid, *_ in csv.reader(file, delimiter="\t"):
                    if Path(name).name != name:
                        raise ValueError(f"{name!r} is no name of a file")
                    test.setdefault(wnid, []).append(f"val/images/{name}")
        except DamagedError as error:
            raise UserError(f"{error}; unpack {self.archive.name} again") from error
        unknown = sorted(test.keys() - classes.keys())
        if unknown:
            raise UserError(f"{annotations} has classes that train/ lacks: {first_names(unknown)}")
        return make_listing(self.folder, classes, test)

    def _unpack(self) -> None:
        from torchvision.datasets.utils import check_integrity, extract_archive

        with reading(self.archive, "an archive"):
            if not check_integrity(str(self.archive), self.md5):
                raise damaged_file(self.archive)
            extract_archive(str(self.archive), str(self.archive.parent))


def _describe(facts: Facts) -> str:
    return f"{facts.train_size} training and {facts.test_size} test images of {facts.classes} classes"
