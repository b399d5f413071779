"""Images that are streamed from disk: decoding, cropping, workers, and runs on them."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from conftest import rows_of
from PIL import Image
from torchvision.transforms import v2

import main
from Utils.data import dataset, streaming
from Utils.data.image_spec import ImageSpec
from Utils.data.streaming import Variation, make_transform
from Utils.errors import UserError

FRAME = ImageSpec((3, 32, 32), (32, 32), 3)


@pytest.fixture(scope="session")
def tree(tmp_path_factory) -> Path:
    """Pictures of many sizes, grey ones among them, in ImageNet's layout."""
    root = tmp_path_factory.mktemp("imagenet")
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("val", 5)):
        for label, name in enumerate(("n01", "n02", "n03")):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                size = (int(rng.integers(40, 70)), int(rng.integers(40, 70)), *([3] if number else []))
                pixels = rng.integers(0, 100, size) + 50 * label
                Image.fromarray(pixels.astype(np.uint8)).save(root / part / name / f"{number}.JPEG")
    return root


def loaded(tree: Path, **options) -> dataset.Data:
    return dataset.load("imagenet", str(tree), FRAME, **options)


def test_labels_and_test_images_are_those_of_torchvision(tree):
    found = loaded(tree)
    transform = v2.Compose([v2.Resize(37), v2.CenterCrop(32), v2.ToTensor()])
    theirs = torchvision.datasets.ImageFolder(str(tree / "val"), transform)
    ours = list(dataset.Batches(found, found.test, 4))
    labels = torch.cat([labels for _, labels in ours])
    assert labels.tolist() == theirs.targets and found.classes == 3 and found.input_shape == (3, 32, 32)
    images = torch.cat([images for images, _ in ours])
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = torch.stack([(image - mean[:, None, None]) / std[:, None, None] for image, _ in theirs])
    torch.testing.assert_close(images, expected, atol=1e-5, rtol=0)
    assert dataset.facts("imagenet", str(tree))[:3] == (3, 36, 15)


@pytest.mark.parametrize("augmentation", ["resized-crop", "resized-crop-color", "crop-flip", "none"])
def test_batches_do_not_depend_on_the_workers(tree, monkeypatch, augmentation):
    passes = []
    for workers in (1, 2):
        monkeypatch.setattr(streaming.os, "cpu_count", lambda workers=workers: workers)
        stream = loaded(tree).training_batches(0, 10, augmentation)
        passes.append([next(stream) for _ in range(5)])
    for (images, labels), (again, same) in zip(*passes, strict=True):
        assert torch.equal(images, again) and torch.equal(labels, same)
    in_memory = dataset.load("digits", "none", FRAME).training_batches(0, 10, "none")
    assert next(in_memory)[0].shape == passes[0][0][0].shape
    other = loaded(tree).training_batches(1, 10, augmentation)
    assert not torch.equal(next(other)[0], passes[0][0][0])


def test_each_pass_varies_images_anew(tree):
    files = loaded(tree).train
    pick = [torch.tensor([5, 5])]
    (first, labels), (second, _) = (next(files.batches(pick, Variation("resized-crop", seed))) for seed in (0, 1))
    assert torch.equal(first[0], first[1]) and not torch.equal(first, second) and labels.tolist() == [0, 0]
    assert torch.equal(next(files.batches(pick))[0], next(files.batches([slice(5, 6)]))[0].expand(2, -1, -1, -1))


def test_variations_are_torchvisions_with_the_published_numbers():
    crop, flip, _ = make_transform((3, 224, 224), "resized-crop").transforms
    assert (crop.scale, tuple(crop.size), flip.p) == ((0.08, 1.0), (224, 224), 0.5)
    crop, grey, colour, flip, _ = make_transform((3, 224, 224), "resized-crop-color").transforms
    assert crop.scale == (0.2, 1) and grey.p == 0.2
    assert [colour.brightness, colour.contrast, colour.saturation] == [(0.6, 1.4)] * 3 and colour.hue == (-0.4, 0.4)
    resize, centre, _ = make_transform((3, 224, 224)).transforms
    assert resize.size == [256] and tuple(centre.size) == (224, 224)


def test_validation_is_held_out(tree):
    found = loaded(tree, validation=10)
    assert len(found.train) == 26 and len(found.validation or ()) == 10
    names = [*found.train.names, *found.validation.names]  # type: ignore[union-attr]
    assert sorted(names) == sorted(loaded(tree).train.names)  # type: ignore[union-attr]
    assert all(f"n0{label + 1}/" in name for name, label in zip(found.train.names, found.train.labels, strict=True))


def test_damaged_images_are_named(tree, tmp_path):
    for part in ("train", "val"):
        for name in ("a", "b"):
            (tmp_path / part / name).mkdir(parents=True)
            Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / part / name / "good.png")
    (tmp_path / "train" / "a" / "bad.jpg").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"cannot be read: train/a/bad.jpg .*replace or delete"):
        list(dataset.Batches(loaded(tmp_path), loaded(tmp_path).train, 1))


def test_a_network_is_pruned_and_trained(tree, tmp_path):
    words = ["--architecture=imagenet/shufflenet_v2_x0_5", f"--path_to_data={tree}", "--image_size=32"]
    more = ["--pruner=snip", "--target_sparsity=0.5", "--iterations=6", "--batch_size=8", "--evaluate_every=3"]
    assert main.main([*words, *more, f"--out_path={tmp_path}", "--data=imagenet"]) == 0
    (row,) = (row for _, row in rows_of(tmp_path).iterrows())
    assert row["data"] == "imagenet" and row["iterations"] == 6 and row["chance"] == pytest.approx(1 / 3)
    assert "--image_size=32" in row["settings"] and 0 <= row["top1"] <= 1
    assert main.main([*words, *more, f"--out_path={tmp_path}"]) == 0, "its own data set, complete already"
    assert len(rows_of(tmp_path)) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data=imagenet", "--architecture=imagenet/resnet18"],
         "imagenet is not in Data/ and cannot be downloaded (it is given to registered users only, and expected as "
         "train/CLASS/* and val/CLASS/*)"),
        (["--data=digits", "--augmentation=resized-crop"], "--augmentation=resized-crop needs data whose images"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert main.main([*words, f"--out_path={tmp_path}"]) == 2
    assert message in capsys.readouterr().err and not list(tmp_path.rglob("*.csv"))
