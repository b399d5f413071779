"""Data sets from files of every accepted form, batches, and augmentation against torchvision."""

import gzip
import hashlib
import pickle
import shutil
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from conftest import shared

from Utils.data import dataset, sources
from Utils.data.image_folder import channel_statistics
from Utils.data.image_spec import ImageSpec
from Utils.data.registry import DATASETS
from Utils.errors import UserError

SHAPE = (1, 28, 28)
SPEC = ImageSpec(SHAPE)


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture(scope="session")
def mnist_files(tmp_path_factory) -> Path:
    """Files of MNIST's format and size, with random content."""
    folder = tmp_path_factory.mktemp("idx")
    rng = np.random.default_rng(0)
    for prefix, count in (("train", 60_000), ("t10k", 10_000)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(rng.integers(0, 10, count, dtype=np.uint8)))
    return folder


@pytest.fixture(autouse=True)
def fresh(offline):
    """No test waits for a network, or sees the data of another."""
    dataset.read.cache_clear()


def test_digits_are_a_fixed_stratified_split():
    loaded = dataset.load("digits", "none", SPEC)
    assert (len(loaded.train), len(loaded.test)) == (1437, 360)
    assert loaded.train.images.dtype == torch.uint8 and loaded.input_shape == SHAPE
    for split in (loaded.train, loaded.test):
        shares = torch.bincount(split.labels) / len(split)
        assert shares.min() > 0.09 and shares.max() < 0.11
    assert int(loaded.train.images.max()) == 255
    coloured = dataset.load("digits", "none", ImageSpec((3, 32, 32)))
    assert coloured.input_shape == (3, 32, 32)
    assert torch.equal(coloured.train.images[:, 0], coloured.train.images[:, 2])
    assert torch.equal(coloured.train.labels, loaded.train.labels)


@pytest.mark.parametrize("name", [name for name, entry in DATASETS.items() if entry.is_embedded])
def test_normalised_images_have_mean_zero_and_deviation_one(name):
    loaded = dataset.load(name, "none", SPEC)
    images = loaded.normalised(loaded.train.images)
    assert abs(images.mean()) < 0.01 and abs(images.std() - 1) < 0.01


def test_real_mnist_is_normalised():
    loaded = dataset.load("mnist", str(shared("data/mnist")), SPEC)
    images = loaded.normalised(loaded.train.images)
    assert abs(images.mean()) < 0.001 and abs(images.std() - 1) < 0.001
    assert dataset.chance(loaded.test) == 0.1135


@pytest.mark.parametrize("layout", ["MNIST/raw", "raw", "."])
@pytest.mark.parametrize("packed", [False, True])
def test_mnist_files_in_every_place_and_form(tmp_path, mnist_files, layout, packed):
    folder = tmp_path / layout
    folder.mkdir(parents=True, exist_ok=True)
    for path in mnist_files.iterdir():
        if (packed and "t10k" in path.name) or path.name == "train-labels-idx1-ubyte":
            (folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 1))
        else:
            shutil.copy(path, folder)
    before = sorted(tmp_path.rglob("*"))
    assert dataset.choose(None, "mnist", str(tmp_path), True) == ("mnist", None)
    loaded = dataset.load("mnist", str(tmp_path), SPEC)
    raw = (mnist_files / "t10k-images-idx3-ubyte").read_bytes()[16:]
    assert loaded.test.images.numpy().tobytes() == raw
    assert sorted(tmp_path.rglob("*")) == before, "loading leaves the folder as it is"


@pytest.mark.parametrize("file", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "other", "gzip", "stream"])
def test_a_damaged_file_is_named(tmp_path, mnist_files, file, damage):
    for path in mnist_files.iterdir():
        shutil.copy(path, tmp_path)
    content = (tmp_path / file).read_bytes()
    if damage in ("gzip", "stream"):
        (tmp_path / file).unlink()
        packed = gzip.compress(content, 1)
        broken = packed[:-200] if damage == "gzip" else packed[:40] + b"\xff" * 160 + packed[200:]
        (tmp_path / f"{file}.gz").write_bytes(broken)
    else:
        (tmp_path / file).write_bytes({"truncated": content[:-100], "empty": b"", "other": b"hello" * 9}[damage])
    with pytest.raises(UserError, match=rf"{file}(\.gz)? is missing or damaged"):
        dataset.load("mnist", str(tmp_path), SPEC)


def test_files_of_another_size_are_refused(tmp_path, mnist_files):
    for path in mnist_files.iterdir():
        shutil.copy(path, tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(np.zeros((5, 28, 28))))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(5)))
    with pytest.raises(UserError, match="60000 training and 5 test images"):
        dataset.load("mnist", str(tmp_path), SPEC)
    shutil.copy(mnist_files / "t10k-images-idx3-ubyte", tmp_path)
    shutil.copy(mnist_files / "t10k-labels-idx1-ubyte", tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.full(60_000, 10)))
    with pytest.raises(UserError, match="training labels are from 10 to 10, not from 0 to 9"):
        dataset.load("mnist", str(tmp_path), SPEC)


@pytest.fixture
def cifar_files(tmp_path, monkeypatch) -> Path:
    """CIFAR-10's archive and folder with random content, and torchvision told of their checksums."""
    source = torchvision.datasets.CIFAR10
    folder = tmp_path / source.base_folder
    folder.mkdir()
    rng = np.random.default_rng(0)
    lists: dict[str, list] = {"train_list": [], "test_list": []}
    for kind in lists:
        for name, _ in getattr(source, kind):
            batch = {"data": rng.integers(0, 256, (10_000, 3072), dtype=np.uint8), "labels": [3] * 9_999 + [7]}
            content = pickle.dumps(batch)
            (folder / name).write_bytes(content)
            lists[kind].append([name, hashlib.md5(content).hexdigest()])
    meta = pickle.dumps({"label_names": list("abcdefghij")})
    (folder / source.meta["filename"]).write_bytes(meta)
    with tarfile.open(tmp_path / source.filename, "w:gz", compresslevel=1) as archive:
        archive.add(folder, source.base_folder)
    monkeypatch.setattr(source, "meta", {**source.meta, "md5": hashlib.md5(meta).hexdigest()})
    monkeypatch.setattr(source, "tgz_md5", hashlib.md5((tmp_path / source.filename).read_bytes()).hexdigest())
    for kind, entries in lists.items():
        monkeypatch.setattr(source, kind, entries)
    return tmp_path


@pytest.mark.slow
def test_cifar_packed_unpacked_and_damaged(cifar_files):
    folder, archive = cifar_files / "cifar-10-batches-py", cifar_files / "cifar-10-python.tar.gz"
    loaded = dataset.load("cifar10", str(cifar_files), SPEC)
    with (folder / "data_batch_1").open("rb") as file:
        first = torch.from_numpy(pickle.load(file)["data"][0].reshape(3, 32, 32))
    assert torch.equal(loaded.train.images[0], first) and int(loaded.train.labels[9_999]) == 7
    assert dataset.chance(loaded.test) == 0.9999
    dataset.read.cache_clear()
    assert len(dataset.load("cifar10", str(folder), SPEC).train) == 50_000
    (folder / "data_batch_3").write_bytes(b"x")
    dataset.read.cache_clear()
    with pytest.raises(UserError, match="data_batch_3 is missing or damaged"):
        dataset.load("cifar10", str(cifar_files), SPEC)
    shutil.rmtree(folder)
    packed = dataset.load("cifar10", str(cifar_files), SPEC)
    assert torch.equal(packed.train.images, loaded.train.images) and not folder.exists()
    archive.write_bytes(archive.read_bytes()[:1000])
    dataset.read.cache_clear()
    with pytest.raises(UserError, match=r"cifar-10-python\.tar\.gz is missing or damaged"):
        dataset.load("cifar10", str(cifar_files), SPEC)


def test_without_files_and_network(tmp_path, mnist_files):
    name, warning = dataset.choose(None, "mnist", str(tmp_path), False)
    assert name == "digits" and "using the embedded digits instead" in warning
    for named, given in (("mnist", False), (None, True), ("cifar10", True)):
        with pytest.raises(UserError, match="cannot be downloaded"):
            dataset.choose(named, "mnist", str(tmp_path), given)
    with pytest.raises(UserError, match="is no folder"):
        dataset.choose(None, "mnist", str(tmp_path / "nowhere"), True)
    with pytest.raises(UserError, match="cannot be read: File name too long"):
        dataset.choose(None, "mnist", "a" * 300, True)
    with pytest.raises(UserError, match="is no folder"):
        dataset.choose("mnist", "mnist", str(mnist_files / "train-images-idx3-ubyte"), True)
    assert dataset.choose("digits", "mnist", str(tmp_path / "nowhere"), False) == ("digits", None)


def test_a_download_puts_files_where_they_are_found(tmp_path, monkeypatch, mnist_files):
    def download(root: str, download: bool) -> None:
        shutil.copytree(mnist_files, Path(root) / "MNIST" / "raw")

    download.mirrors = ["https://nowhere.invalid/"]
    monkeypatch.setattr(sources, "_answers", lambda host: host == "nowhere.invalid")
    monkeypatch.setattr(torchvision.datasets, "MNIST", download)
    assert dataset.choose(None, "mnist", str(tmp_path), False) == ("mnist", None)
    assert len(dataset.load("mnist", str(tmp_path), SPEC).train) == 60_000


def test_a_download_that_fails_says_why(tmp_path, monkeypatch):
    def download(root: str, download: bool) -> None:
        raise RuntimeError("File not found or corrupted.\nmore")

    download.mirrors = ["https://nowhere.invalid/"]
    monkeypatch.setattr(sources, "_answers", lambda host: True)
    monkeypatch.setattr(torchvision.datasets, "MNIST", download)
    with pytest.raises(UserError, match=r"cannot be downloaded \(File not found or corrupted\.\)"):
        dataset.choose("mnist", "mnist", str(tmp_path), False)


def test_validation_images_are_held_out():
    whole, part = dataset.load("digits", "none", SPEC), dataset.load("digits", "none", SPEC, 0, 200)
    assert len(part.train) == 1237 and len(part.validation) == 200

    def content(*splits: dataset.Split) -> list:
        return sorted(image.numpy().tobytes() for split in splits for image in split.images)

    assert content(part.train, part.validation) == content(whole.train)
    assert torch.equal(part.test.images, whole.test.images)
    other = dataset.load("digits", "none", SPEC, 1, 200)
    assert not torch.equal(other.validation.images, part.validation.images)
    with pytest.raises(UserError, match="--validation=1437 must be less than the 1437"):
        dataset.load("digits", "none", SPEC, 0, 1437)


def test_every_pass_sees_every_image_once():
    loaded = dataset.load("digits", "none", SPEC)
    stream = loaded.training_batches(0, 100, "none")
    passes = [[next(stream) for _ in range(14)] for _ in range(2)]
    for batches in passes:
        images = torch.cat([x for x, _ in batches])
        assert len(images) == 1400 and len({x.numpy().tobytes() for x in images}) > 1390
    assert not torch.equal(passes[0][0][1], passes[1][0][1])
    again = loaded.training_batches(0, 100, "none")
    assert all(torch.equal(next(again)[0], x) for x, _ in passes[0])
    assert not torch.equal(next(loaded.training_batches(1, 100, "none"))[0], passes[0][0][0])
    with pytest.raises(UserError, match="--batch_size=1438 is more than the 1437"):
        next(loaded.training_batches(0, 1438, "none"))


def test_prune_examples():
    loaded = dataset.load("digits", "none", SPEC)
    batches = loaded.prune_examples(0, 150, 64)
    first, second = ([x for x, _ in batches] for _ in range(2))
    assert [len(x) for x in first] == [75, 75]
    assert [len(y) for _, y in loaded.prune_examples(0, 65, 64)] == [65]
    assert [len(y) for _, y in loaded.prune_examples(0, 11, 2)] == [2, 2, 2, 2, 3]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert sum(len(y) for _, y in loaded.prune_examples(0, 10**6, 500)) == 1437


def test_statistics_of_a_channel_that_never_varies():
    mean, std = channel_statistics(torch.full((3, 1, 2, 2), 51, dtype=torch.uint8))
    assert mean == pytest.approx((0.2,)) and std == (1.0,)


def test_sizes_for_other_data_sets():
    loaded = dataset.load("digits", "none", ImageSpec((1, 28, 28), size=(9, 11)))
    assert loaded.input_shape == (1, 9, 11)
    images = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    resized = ImageSpec((3, 1, 1), size=(4, 4)).fit(images)
    means = torch.nn.functional.interpolate(images.double(), (4, 4), mode="bilinear", antialias=True)
    assert (resized.double() - means).abs().max() <= 0.5 + 1e-4 and resized.dtype == torch.uint8
