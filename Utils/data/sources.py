"""Data sources: find, download and read the files of each data set.

A source is constructed from a folder and an `ImageSpec`. `find` returns whether the data set is on disk. `download`
fetches it; `check_network` tests whether that is possible. `load` returns the examples of the training and test sets.
"""

import contextlib
import gzip
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar
from urllib.parse import urlparse

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from Utils.data.image_spec import Examples, ImageSpec, check_memory, in_chunks
from Utils.errors import UserError
from Utils.files import DamagedError, is_file, is_folder, reading

_CONNECT_SECONDS = 4
"""Time-out of a test connection."""

_TRANSFER_SECONDS = 30
"""Time-out of a download that receives no data."""


class Digits:
    """scikit-learn's 1,797 real handwritten digits of 8 x 8 pixels, in a fixed stratified split."""

    def __init__(self, folder: Path, spec: ImageSpec) -> None:
        self.input_shape = spec.shape

    def find(self) -> bool:
        """Return True: the digits are part of scikit-learn."""
        return True

    def check_network(self) -> None:
        """Do nothing: no network is required."""

    def download(self) -> None:
        """Do nothing: the digits are part of scikit-learn."""

    def load(self) -> tuple[Examples, Examples]:
        """Both sets, resized to the input shape; the grey channel is repeated."""
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        digits: Any = load_digits()
        channels, height, width = self.input_shape
        pixels = torch.from_numpy(digits.images).float()[:, None] * (255 / 16)
        check_memory(len(pixels), 1, (height, width))
        images = in_chunks(_enlarge, pixels, (height, width)).expand(-1, channels, -1, -1)
        labels = torch.from_numpy(digits.target).long()
        train, test = train_test_split(np.arange(len(labels)), test_size=360, random_state=0, stratify=digits.target)
        return (images[train], labels[train]), (images[test], labels[test])


def _enlarge(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(pixels, size=size, mode="bilinear", align_corners=False).round().to(torch.uint8)


class MNIST:
    """LeCun's handwritten digits: four idx files, plain or gzipped, in torchvision's layout or the folder itself."""

    name: ClassVar[str] = "MNIST"
    files: ClassVar[tuple[tuple[str, str], ...]] = (
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
    )

    def __init__(self, folder: Path, spec: ImageSpec) -> None:
        self.folder = folder

    def find(self) -> bool:
        """Whether all four files are on disk."""
        return all(self._path(name) is not None for pair in self.files for name in pair)

    def check_network(self) -> None:
        """Raise `ConnectionError` unless one of the download servers answers."""
        check_network(self._dataset_class().mirrors)

    def download(self) -> None:
        """Download and verify the files with torchvision."""
        fetch(lambda: self._dataset_class()(str(self.folder), download=True), self._dataset_class().mirrors)

    def _dataset_class(self) -> Any:
        import torchvision

        return getattr(torchvision.datasets, self.name)

    def load(self) -> tuple[Examples, Examples]:
        """Read both sets; raises `UserError` naming a damaged file."""
        from torchvision.datasets.mnist import read_image_file, read_label_file

        sets = []
        for image_name, label_name in self.files:
            with self._unpacked(image_name) as path:
                images = read_image_file(str(path))[:, None]
            with self._unpacked(label_name) as path:
                sets.append((images, read_label_file(str(path))))
        return sets[0], sets[1]

    def _path(self, name: str) -> Path | None:
        folders = (self.folder / self.name / "raw", self.folder / "raw", self.folder)
        names = (name, f"{name}.gz", dotted := name.replace("-idx", ".idx"), f"{dotted}.gz")
        return next((path for folder in folders for file in names if is_file(path := folder / file)), None)

    @contextlib.contextmanager
    def _unpacked(self, name: str) -> Iterator[Path]:
        path = self._path(name)
        assert path is not None
        try:
            with reading(path, "an idx file"), tempfile.TemporaryDirectory() as folder:
                unpacked = Path(folder) / name
                if path.suffix == ".gz":
                    unpacked.write_bytes(gzip.decompress(path.read_bytes()))
                yield unpacked if path.suffix == ".gz" else path
        except DamagedError as error:
            raise damaged_file(path) from error


class FashionMNIST(MNIST):
    """Zalando's articles of clothing, in the format of MNIST."""

    name = "FashionMNIST"


class CIFAR10:
    """Krizhevsky's tiny images: the Python version, unpacked or as the original archive."""

    name: ClassVar[str] = "CIFAR10"

    def __init__(self, folder: Path, spec: ImageSpec) -> None:
        import torchvision

        self.folder = folder
        self.source = getattr(torchvision.datasets, self.name)

    def find(self) -> bool:
        """Whether the unpacked folder or the archive is on disk."""
        return self._unpacked_root() is not None or is_file(self.folder / self.source.filename)

    def check_network(self) -> None:
        """Raise `ConnectionError` unless the archive's server answers."""
        check_network([self.source.url])

    def download(self) -> None:
        """Download and verify the archive with torchvision."""
        fetch(lambda: self.source(str(self.folder), download=True), [self.source.url])

    def load(self) -> tuple[Examples, Examples]:
        """Read both sets; raises `UserError` naming a damaged file."""
        root = self._unpacked_root()
        if root is not None:
            return self._read(root)
        archive = self.folder / self.source.filename
        with tempfile.TemporaryDirectory() as folder:
            self._extract(archive, Path(folder))
            return self._read(Path(folder))

    def _unpacked_root(self) -> Path | None:
        is_folder_itself = self.folder.name == self.source.base_folder
        candidates = (self.folder, self.folder.parent) if is_folder_itself else (self.folder,)
        return next((root for root in candidates if is_folder(root / self.source.base_folder)), None)

    def _extract(self, archive: Path, folder: Path) -> None:
        from torchvision.datasets.utils import check_integrity, extract_archive

        with reading(archive, "an archive"):
            if not check_integrity(str(archive), self.source.tgz_md5):
                raise damaged_file(archive)
            extract_archive(str(archive), str(folder))

    def _read(self, root: Path) -> tuple[Examples, Examples]:
        from torchvision.datasets.utils import check_integrity

        # torchvision unpickles these files, so all checksums are verified before any file is read.
        meta = (self.source.meta["filename"], self.source.meta["md5"])
        for name, checksum in (*self.source.train_list, *self.source.test_list, meta):
            path = root / self.source.base_folder / name
            if not is_file(path):
                raise damaged_file(path)
            with reading(path, "a file of the data set"):
                if not check_integrity(str(path), checksum):
                    raise damaged_file(path)
        sets = []
        for is_train in (True, False):
            data = self.source(str(root), train=is_train)
            sets.append((torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(data.targets)))
        return sets[0], sets[1]


class CIFAR100(CIFAR10):
    """CIFAR-100: the format of CIFAR-10 with 100 classes."""

    name = "CIFAR100"


def damaged_file(path: Path) -> UserError:
    """The error for a file of a data set that is missing or has another content than it should."""
    return UserError(f"{path} is missing or damaged (truncated?); replace it, or delete it and let it be downloaded")


def check_network(addresses: list[str]) -> None:
    """Raise `ConnectionError` unless the server of one of the addresses answers within seconds."""
    if not any(_answers(urlparse(address).hostname or "") for address in addresses):
        raise ConnectionError("no network")


def fetch(download: Callable[[], object], addresses: list[str]) -> None:
    """Run a download, with a time-out when no data arrives; raises `ConnectionError` if it fails."""
    check_network(addresses)
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TRANSFER_SECONDS)
    try:
        download()
    except (OSError, RuntimeError) as error:
        raise ConnectionError((str(error) or type(error).__name__).splitlines()[0]) from error
    finally:
        socket.setdefaulttimeout(previous)


def _answers(host: str) -> bool:
    """Whether a host accepts a connection within seconds, including name resolution, which has no time-out itself."""
    reached: list[bool] = []

    def connect() -> None:
        with contextlib.suppress(OSError), socket.create_connection((host, 443), timeout=_CONNECT_SECONDS):
            reached.append(True)

    attempt = Thread(target=connect, daemon=True)
    attempt.start()
    attempt.join(_CONNECT_SECONDS)
    return bool(reached)
