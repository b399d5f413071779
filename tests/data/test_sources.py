"""Files of data sets: other names, content that does not fit, and files that cannot be read."""

import gzip
import hashlib
import os
import pickle
import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision

import main
from Utils.data import dataset
from Utils.data.image_spec import ImageArrays, ImageSpec
from Utils.data.registry import DATASETS, Facts
from Utils.errors import UserError

SPEC = ImageSpec((1, 28, 28))
PARTS = {"train": 20, "t10k": 10}


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_mnist(folder: Path, separator: str = "-", suffix: str = "") -> Path:
    """20 training and 10 test images."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for part, count in PARTS.items():
        for kind, content in (
            ("images{}idx3", rng.integers(0, 256, (count, 28, 28))), ("labels{}idx1", np.arange(count) % 10),
        ):  # fmt: skip
            raw = idx(content)
            path = folder / f"{part}-{kind.format(separator)}-ubyte{suffix}"
            path.write_bytes(gzip.compress(raw) if suffix else raw)
    return folder


@pytest.fixture(autouse=True)
def small(monkeypatch, offline):
    """MNIST and CIFAR-10 of 20 training and 10 test images."""
    for name in ("mnist", "fashion-mnist", "cifar10"):
        monkeypatch.setitem(DATASETS, name, DATASETS[name]._replace(facts=Facts(10, 20, 10)))
    dataset.facts.cache_clear()
    dataset.read.cache_clear()


def load(folder: Path, name: str = "mnist") -> dataset.Data:
    dataset.read.cache_clear()
    return dataset.load(name, str(folder), SPEC)


def run(folder: Path, capsys, name: str = "mnist") -> str:
    """The error output of main.py, which is one line."""
    dataset.read.cache_clear()
    words = [f"--data={name}", f"--path_to_data={folder}", f"--out_path={folder.parent / 'out'}", "--iterations=1"]
    assert main.main([*words, "--architecture=lenet5", "--pruner=random", "--batch_size=5"]) == 2
    assert not list((folder.parent / "out").rglob("*.csv"))
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    return printed


@pytest.mark.parametrize("place", [".", "raw", "{name}/raw"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_dotted_names(tmp_path, place, suffix, name, folder):
    """As they are after unpacking with some programs, and in the copies of several sites."""
    expected = load(write_mnist(tmp_path / "plain"), name)
    root = tmp_path / "dotted"
    write_mnist(root / place.format(name=folder), ".", suffix)
    assert dataset.choose(name, None, str(root), True) == (name, None)
    found = load(root, name)
    for split, twin in ((expected.train, found.train), (expected.test, found.test)):
        assert torch.equal(split.images, twin.images) and torch.equal(split.labels, twin.labels)  # type: ignore


def test_a_folder_with_the_name_of_a_file_is_passed_over(tmp_path):
    """An archive of MNIST has each file also in a folder of the same name."""
    write_mnist(tmp_path, ".")
    (tmp_path / "train-images-idx3-ubyte").mkdir()
    assert len(load(tmp_path).train) == 20


CONTENT = [
    ("t10k-labels-idx1-ubyte", np.arange(10) + 3, "test labels are from 3 to 12, not from 0 to 9"),
    ("train-labels-idx1-ubyte", np.full(20, 255), "training labels are from 255 to 255, not from 0 to 9"),
    ("t10k-images-idx3-ubyte", np.zeros((10, 28, 27)), "test images are (1, 28, 27), training images are (1, 28, 28)"),
    ("train-images-idx3-ubyte", np.zeros((20, 32, 32)), "holds images of (1, 32, 32), not mnist's (1, 28, 28)"),
    ("t10k-labels-idx1-ubyte", np.arange(9), "10 test images with 20 and 9 labels, not mnist's 20 and 10"),
]


@pytest.mark.parametrize(("file", "content", "message"), CONTENT)
def test_content_that_does_not_fit_is_one_line(tmp_path, capsys, file, content, message):
    folder = write_mnist(tmp_path / "data")
    (folder / file).write_bytes(idx(content))
    with pytest.raises(UserError) as caught:
        load(folder)
    assert message in str(caught.value) and str(folder) in str(caught.value)
    assert message in run(folder, capsys)


def write_cifar(folder: Path, monkeypatch, test_labels: list[int], test_width: int = 3072) -> Path:
    """CIFAR-10's folder with 20 and 10 images, and torchvision told of their checksums."""
    source = torchvision.datasets.CIFAR10
    root = folder / source.base_folder
    root.mkdir(parents=True)
    batches = {
        "data_batch_1": {"data": np.zeros((20, 3072), np.uint8), "labels": [number % 10 for number in range(20)]},
        "test_batch": {"data": np.zeros((10, test_width), np.uint8), "labels": test_labels},
        "batches.meta": {"label_names": list("abcdefghij")},
    }
    sums = {}
    for name, batch in batches.items():
        content = pickle.dumps(batch)
        (root / name).write_bytes(content)
        sums[name] = hashlib.md5(content).hexdigest()
    monkeypatch.setattr(source, "train_list", [["data_batch_1", sums["data_batch_1"]]])
    monkeypatch.setattr(source, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(source, "meta", {**source.meta, "md5": sums["batches.meta"]})
    return folder


@pytest.mark.parametrize(("labels", "message"), [
    ([*range(9), 10], "test labels are from 0 to 10, not from 0 to 9"),
    ([-1, *range(9)], "test labels are from -1 to 8, not from 0 to 9"),
    (list(range(9)), "10 test images with 20 and 9 labels"),
])  # fmt: skip
def test_labels_of_cifar(tmp_path, monkeypatch, capsys, labels, message):
    folder = write_cifar(tmp_path / "data", monkeypatch, labels)
    assert message in run(folder, capsys, "cifar10")
    write_cifar(tmp_path / "right", monkeypatch, list(range(10)))
    assert load(tmp_path / "right", "cifar10").test.labels.tolist() == list(range(10))


IMAGES = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
LABELS = torch.tensor([0, 1, 2, 0])
WRONG = [
    ({"test": (IMAGES, torch.tensor([0, 1, 2, 3]))}, "test labels are from 0 to 3, not from 0 to 2"),
    ({"train": (IMAGES, LABELS - 1)}, "training labels are from -1 to 1, not from 0 to 2"),
    ({"test": (IMAGES[..., :7], LABELS)}, r"test images are \(1, 8, 7\), training images are \(1, 8, 8\)"),
    ({"test": (IMAGES.expand(-1, 3, -1, -1), LABELS)}, r"test images are \(3, 8, 8\), training images are \(1, 8, 8\)"),
    ({"test": (IMAGES.float(), LABELS)}, r"test images are torch.float32 \(4, 1, 8, 8\), not uint8"),
    ({"train": (IMAGES[:, 0], LABELS)}, r"training images are torch.uint8 \(4, 8, 8\), not uint8 \(n, channels"),
    ({"test": (IMAGES[:0], LABELS[:0])}, r"test images are torch.uint8 \(0, 1, 8, 8\), not uint8"),
    ({"test": (IMAGES, LABELS.float())}, r"test labels are torch.float32 \(4,\), not int64 for 4 images"),
    ({"test": (IMAGES, LABELS[:, None])}, r"test labels are torch.int64 \(4, 1\), not int64 for 4 images"),
    ({"train": (IMAGES, LABELS[:3])}, r"training labels are torch.int64 \(3,\), not int64 for 4 images"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), WRONG)
@pytest.mark.parametrize("has_facts", [True, False])
def test_sources_of_users_are_checked_too(monkeypatch, change, message, has_facts):
    """With sizes in the registry, or with those that the source measures."""
    content = ImageArrays((IMAGES, LABELS), (IMAGES, LABELS), 3, (0.0,), (1.0,))
    entry = DATASETS["mnist"]._replace(input_shape=None, mean=(0.0,), std=(1.0,), facts=Facts(3, 4, 4))
    monkeypatch.setitem(DATASETS, "mine", entry)

    def load_as(content: ImageArrays) -> dataset.Data:
        loaded = content[:2] if has_facts else content
        monkeypatch.setattr(dataset, "_source", lambda *_: SimpleNamespace(load=lambda: loaded))
        return load(Path("folder"), "mine")

    assert len(load_as(content).test) == 4
    ((images, labels),) = change.values()
    if has_facts and (len(images), len(labels)) != (4, 4):
        message = "folder holds 4 training and"
    with pytest.raises(UserError, match=message):
        load_as(content._replace(**change))


def deny(monkeypatch, target: Path) -> None:
    """Removed permissions do not stop an administrator, so the calls of the system fail instead."""
    for owner, name in ((os, "stat"), (Path, "read_bytes"), (Path, "is_dir")):
        original = getattr(owner, name)

        def denied(path, *arguments, original=original, **keywords):
            if Path(os.fsdecode(path)) == target:
                raise PermissionError(13, "Permission denied", str(path))
            return original(path, *arguments, **keywords)

        monkeypatch.setattr(owner, name, denied)


@pytest.mark.parametrize("place", ["data", "data/train-images-idx3-ubyte.gz"])
def test_forbidden_files_are_not_called_damaged(tmp_path, monkeypatch, capsys, place):
    folder = write_mnist(tmp_path / "data", suffix=".gz")
    deny(monkeypatch, tmp_path / place)
    printed = run(folder, capsys)
    assert "permission denied" in printed.lower() and "damaged" not in printed and str(tmp_path / place) in printed


def test_a_pipe_is_no_file_of_a_data_set(tmp_path, capsys):
    folder = write_mnist(tmp_path / "data")
    (folder / "t10k-labels-idx1-ubyte").unlink()
    os.mkfifo(folder / "t10k-labels-idx1-ubyte")
    assert "cannot be downloaded" in run(folder, capsys)
    (tmp_path / "cifar").mkdir()
    os.mkfifo(tmp_path / "cifar" / "cifar-10-python.tar.gz")
    assert "cannot be downloaded" in run(tmp_path / "cifar", capsys, "cifar10")
