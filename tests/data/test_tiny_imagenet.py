"""Tiny ImageNet, laid out small: unpacked, packed, damaged, without network."""

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import rows_of
from PIL import Image

import main
from Utils.data import dataset, sources
from Utils.data.image_spec import ImageSpec
from Utils.data.registry import DATASETS, Facts
from Utils.data.tiny_imagenet import TinyImageNet
from Utils.errors import UserError

CLASSES = ("n01443537", "n01629819", "n01641577")
FRAME = ImageSpec((3, 64, 64))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Three classes of 20 training and 4 test images, one colour for each class; every file as in the original."""
    monkeypatch.setitem(DATASETS, "tinyimagenet", DATASETS["tinyimagenet"]._replace(facts=Facts(3, 60, 12)))
    monkeypatch.setattr(sources, "_answers", lambda host: False)
    dataset.read.cache_clear()
    dataset.facts.cache_clear()
    root = tmp_path / "data" / "tiny-imagenet-200"
    annotations = []
    for number, wnid in enumerate(CLASSES):
        images = root / "train" / wnid / "images"
        images.mkdir(parents=True)
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text("a box\n")
        for index in range(20):
            save(images / f"{wnid}_{index}.JPEG", number)
        for index in range(4):
            name = f"val_{index * 3 + number}.JPEG"
            save(root / "val" / "images" / name, number)
            annotations.append(f"{name}\t{wnid}\t0\t0\t63\t63\n")
    (root / "test" / "images").mkdir(parents=True)
    save(root / "test" / "images" / "test_0.JPEG", 0)
    (root / "val" / "val_annotations.txt").write_text("".join(annotations))
    (root / "wnids.txt").write_text("\n".join(reversed(CLASSES)))
    return tmp_path / "data"


def save(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[..., number] = 200
    Image.fromarray(pixels).save(path, quality=95)


def loaded(folder: Path) -> dataset.Data:
    dataset.read.cache_clear()
    return dataset.load("tinyimagenet", str(folder), FRAME)


def test_labels_and_normalisation(folder):
    found = loaded(folder)
    for split, count in ((found.train, 60), (found.test, 12)):
        assert len(split) == count and split.images.shape[1:] == (3, 64, 64)
        assert torch.equal(split.images.float().mean((2, 3)).argmax(1), split.labels), (
            "classes in order of their number"
        )
    pixel = found.normalised(found.train.images[:1])[0, 0, 0, 0].item()
    assert pixel == pytest.approx((found.train.images[0, 0, 0, 0].item() / 255 - 0.4802) / 0.2770, abs=1e-5)


def test_the_folder_itself_and_a_second_load(folder, monkeypatch):
    first = loaded(folder)
    monkeypatch.setattr("Utils.data.image_folder.decode", None)
    again = loaded(folder / "tiny-imagenet-200")
    assert torch.equal(first.train.images, again.train.images), "decoded once"


def test_cached_images_follow_the_labels_of_the_table(folder):
    """The files stay in the same order when an image at the border of two classes goes to the other class."""
    first = loaded(folder)
    annotations = folder / "tiny-imagenet-200" / "val" / "val_annotations.txt"
    rows = sorted((line.split("\t") for line in annotations.read_text().splitlines()), key=lambda row: row[1])
    rows[3][1] = rows[4][1]
    annotations.write_text("".join("\t".join(row) + "\n" for row in rows))
    again = loaded(folder)
    assert torch.equal(again.test.images, first.test.images), "read from the cache of the same files"
    assert again.test.labels.tolist() == [0] * 3 + [1] * 5 + [2] * 4 != first.test.labels.tolist()


@pytest.mark.parametrize("content", [
    b"\xff\xfe\t\xff\n", b"val_0.JPEG\n", b"../../x.JPEG\tn01443537\n", b"\0\t\0\n", b'"' + b"x" * 200_000, b"\n",
])  # fmt: skip
def test_a_damaged_table_is_named(folder, content):
    annotations = folder / "tiny-imagenet-200" / "val" / "val_annotations.txt"
    annotations.write_bytes(content + annotations.read_bytes())
    with pytest.raises(UserError, match=r"val_annotations\.txt (is damaged, or .*; unpack tiny|has classes)"):
        loaded(folder)


def test_the_archive_is_checked_and_unpacked(folder, monkeypatch):
    root = folder / "tiny-imagenet-200"
    expected = loaded(folder).train.images
    archive = folder / "tiny-imagenet-200.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(root.rglob("*")):
            if ".cache" not in path.parts:
                file.write(path, path.relative_to(folder))
    root.rename(folder / "elsewhere")
    with pytest.raises(UserError, match=r"tiny-imagenet-200\.zip is missing or damaged"):
        dataset.choose("tinyimagenet", None, str(folder), True)
    monkeypatch.setattr(TinyImageNet, "md5", hashlib.md5(archive.read_bytes()).hexdigest())
    assert dataset.choose("tinyimagenet", None, str(folder), True) == ("tinyimagenet", None)
    assert torch.equal(loaded(folder).train.images, expected)


def test_damage_is_named(folder):
    annotations = folder / "tiny-imagenet-200" / "val" / "val_annotations.txt"
    whole = annotations.read_text()
    annotations.write_text(whole.replace("val_0.JPEG", "val_99.JPEG"))
    with pytest.raises(UserError, match=r"1 of 72 images .*val/images/val_99\.JPEG"):
        loaded(folder)
    annotations.write_text(whole + "val_0.JPEG\tn999\t0\t0\t1\t1\n")
    with pytest.raises(UserError, match="has classes that train/ lacks: n999"):
        loaded(folder)
    annotations.unlink()
    with pytest.raises(UserError, match=r"val_annotations\.txt is missing; unpack"):
        loaded(folder)


def test_a_part_of_it_is_refused_before_it_is_decoded(folder):
    root = folder / "tiny-imagenet-200"
    (root / "train" / CLASSES[0] / "images" / f"{CLASSES[0]}_3.JPEG").unlink()
    with pytest.raises(UserError, match="holds 59 training and 12 test images of 3 classes, not 60 training and 12"):
        loaded(folder)
    assert not list(root.rglob("*.safetensors")) + list(root.rglob("*.json"))


def test_without_files_and_network(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_answers", lambda host: False)
    with pytest.raises(UserError, match=r"tinyimagenet is not in .* and cannot be downloaded"):
        dataset.choose("tinyimagenet", None, str(tmp_path), True)
    name, warning = dataset.choose(None, "tinyimagenet", str(tmp_path), False)
    assert name == "digits" and "using the embedded digits" in (warning or "")


def test_a_network_trains_on_it(folder, tmp_path):
    words = ["--architecture=lenet5", "--data=tinyimagenet", f"--path_to_data={folder}", "--iterations=10"]
    more = ["--batch_size=16", "--evaluate_every=10", "--pruner=random", f"--out_path={tmp_path / 'out'}"]
    assert main.main([*words, *more]) == 0
    (row,) = (row for _, row in rows_of(tmp_path / "out").iterrows())
    assert (row["data"], row["chance"]) == ("tinyimagenet", pytest.approx(1 / 3)) and not row["error"]
