"""Folders of images: every layout, every format, sizes and statistics, and damage by name."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from pictures import CLASSES, load, picture, save
from PIL import Image

import main
from Utils.data import dataset
from Utils.data.image_folder import ImageFolder
from Utils.data.image_spec import ImageSpec
from Utils.errors import UserError
from Utils.results import load_summaries

SPEC = ImageSpec((3, 32, 32))


@pytest.fixture(autouse=True)
def fresh(own_cache):
    dataset.facts.cache_clear()
    dataset.read.cache_clear()


def test_pixels_labels_and_order(folder):
    loaded = load(folder)
    assert (
        loaded.classes == 3 and loaded.input_shape == (3, 12, 10) and (len(loaded.train), len(loaded.test)) == (15, 3)
    )
    assert loaded.train.labels.tolist() == [0] * 4 + [1] * 5 + [2] * 6 and loaded.test.labels.tolist() == [0, 1, 2]
    expected = np.stack([picture(10 * number + index) for number in range(3) for index in range(4 + number)])
    assert torch.equal(loaded.train.images, torch.from_numpy(expected).permute(0, 3, 1, 2))
    assert torch.equal(loaded.test.images[1], torch.from_numpy(picture(101)).permute(2, 0, 1))


def test_normalisation_is_measured_on_the_training_set_or_given(folder):
    loaded = load(folder)
    pixels = loaded.train.images.double() / 255
    normalised = loaded.normalised(loaded.train.images).double()
    expected = (pixels - pixels.mean((0, 2, 3), keepdim=True)) / pixels.std((0, 2, 3), correction=0, keepdim=True)
    assert torch.allclose(normalised, expected, atol=1e-5)
    given = dataset.load("imagefolder", str(folder), SPEC, mean=(0.5,), std=(0.25, 0.5, 1.0))
    centred = (pixels - 0.5) / torch.tensor([0.25, 0.5, 1.0], dtype=torch.float64).reshape(1, 3, 1, 1)
    assert torch.allclose(given.normalised(given.train.images).double(), centred, atol=1e-5)


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_other_names_of_the_test_set(folder, name):
    (folder / "test").rename(folder / name)
    assert len(load(folder).test) == 3


def test_a_test_set_beside_a_validation_set(folder):
    shutil.copytree(folder / "test", folder / "val")
    with pytest.warns(UserWarning, match=r"test/ is the test set, val/ is not used"):
        assert len(load(folder).test) == 3


def test_one_tree_has_a_fixed_stratified_split(tmp_path):
    for number, name in enumerate(CLASSES):
        for index in range(10):
            save(tmp_path / "one" / name / f"{index}.png", picture(10 * number + index))
    (tmp_path / "one" / "README.txt").write_text("no class")
    listing = ImageFolder(tmp_path / "one", SPEC).listing
    assert len(listing.train) == 24 and len(listing.test) == 6 and not set(listing.train) & set(listing.test)
    assert sorted(listing.test_labels) == [0, 0, 1, 1, 2, 2]
    assert all(file.startswith(CLASSES[label]) for file, label in zip(listing.train, listing.train_labels, strict=True))
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    assert ImageFolder(tmp_path / "other", SPEC).listing == listing
    for index in range(10, 15):
        save(tmp_path / "other" / "ant" / f"{index}.png", picture(200 + index))
    grown = ImageFolder(tmp_path / "other", SPEC).listing
    assert len(grown.test) == 7 and len(set(listing.test) - set(grown.test)) <= 1, "the split hardly changes"


def test_subfolders_suffixes_and_hidden_files(folder):
    save(folder / "train" / "ant" / "deeper" / "photo.JPG", picture(1), quality=95)
    save(folder / "train" / "ant" / "a.bmp", picture(2))
    save(folder / "train" / "ant" / ".hidden.png", picture(3))
    (folder / "train" / "ant" / "notes.txt").write_text("no image")
    (folder / "train" / ".git").mkdir()
    assert len(load(folder).train) == 17


def test_formats_become_eight_bit_channels(folder):
    ant = folder / "train" / "ant"
    Image.fromarray(np.full((12, 10), 257 * 200, np.uint16)).save(ant / "w.png")
    Image.fromarray(np.full((12, 10), 77, np.uint8)).save(ant / "x.png")
    Image.fromarray(np.full((12, 10, 4), 50, np.uint8)).save(ant / "y.png")
    Image.fromarray(np.full((12, 10), 255, np.uint8)).convert("1").save(ant / "z.png")
    images = load(folder).train.images[4:8]
    assert [int(image.float().mean()) for image in images] == [200, 77, 50, 255]
    assert images.shape[1] == 3


def test_grey_images_stay_grey_and_are_repeated_for_networks_that_insist(tmp_path):
    for name in CLASSES:
        for index in range(5):
            save(tmp_path / "grey" / name / f"{index}.png", picture(index, channels=1))
    assert load(tmp_path / "grey").input_shape == (1, 12, 10)
    dataset.read.cache_clear()
    repeated = load(tmp_path / "grey", channels=3)
    assert repeated.input_shape == (3, 12, 10)
    assert torch.equal(repeated.train.images[:, 0], repeated.train.images[:, 2])
    with pytest.raises(UserError, match="the network takes 1 channels, the images have 3"):
        ImageSpec((1, 28, 28), channels=1).fit(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))


def test_sizes_that_differ_are_measured_or_given(tmp_path):
    for name in CLASSES:
        for index, (height, width) in enumerate([(20, 40), (30, 24), (50, 26), (22, 22), (28, 90)]):
            save(tmp_path / "mixed" / name / f"{index}.png", np.full((height, width, 3), 10 * index, np.uint8))
    loaded = load(tmp_path / "mixed")
    assert loaded.input_shape == (3, 24, 24), "the median of the shorter sides 20, 24, 26, 22, 28"
    dataset.read.cache_clear()
    assert load(tmp_path / "mixed", size=(8, 16)).input_shape == (3, 8, 16)


def test_what_stands_over_is_cut_off_on_both_sides(tmp_path):
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 200
    for name in CLASSES:
        for index in range(2):
            save(tmp_path / "wide" / name / f"{index}.png", wide)
    assert load(tmp_path / "wide", size=(10, 10)).train.images.unique().tolist() == [200]


def test_photographs_are_turned_upright(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((10, 12, 3), np.uint8)
    pixels[:, :6] = 255
    save(folder / "train" / "ant" / "z.jpg", pixels, exif=exif, quality=100)
    loaded = load(folder)
    assert loaded.input_shape == (3, 12, 10), "12 x 10 once upright, as the others"
    upright = loaded.train.images[4]
    assert upright[:, :5].float().mean() > 240 and upright[:, 7:].float().mean() < 15


def test_many_images_are_decoded_by_workers_as_by_one(tmp_path, monkeypatch):
    for name in CLASSES:
        for index in range(12):
            save(tmp_path / "many" / name / f"{index}.png", picture(index))
    alone = load(tmp_path / "many")
    shutil.rmtree(tmp_path / "many" / ".cache")
    monkeypatch.setattr("Utils.data.folders.decoding._FEW", 0)
    monkeypatch.setattr("Utils.data.folders.decoding._CHUNK", 5)
    together = load(tmp_path / "many")
    assert torch.equal(alone.train.images, together.train.images) and torch.equal(
        alone.test.images, together.test.images
    )


def test_the_key_is_that_of_the_content(folder, tmp_path):
    key = dataset.facts("imagefolder", str(folder)).key
    shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns(".cache"))
    for path in (tmp_path / "copy").rglob("*.png"):
        os.utime(path, (1, 1))
    assert dataset.facts("imagefolder", str(tmp_path / "copy")).key == key, "neither place nor time is content"
    save(tmp_path / "copy" / "test" / "bee" / "0.png", picture(999))
    dataset.facts.cache_clear()
    assert dataset.facts("imagefolder", str(tmp_path / "copy")).key != key


def test_links_to_nowhere_are_named(folder):
    (folder / "train" / "ant" / "z.png").symlink_to(folder / "gone.png")
    with pytest.raises(UserError, match=r"1 of 19 images in .* cannot be read: train/ant/z\.png \(a link to nowhere\)"):
        load(folder)


def test_damaged_images_are_named(folder):
    (folder / "train" / "bee" / "0.png").write_bytes(b"")
    whole = (folder / "train" / "cat" / "1.png").read_bytes()
    (folder / "test" / "ant" / "broken.png").write_text("<html>")
    with pytest.raises(UserError) as error:
        dataset.facts("imagefolder", str(folder))
    text = str(error.value)
    assert "2 of 19 images" in text and "train/bee/0.png (no image that Pillow can read)" in text
    assert "test/ant/broken.png" in text and "\n" not in text
    shutil.copy(folder / "train" / "bee" / "1.png", folder / "train" / "bee" / "0.png")
    shutil.copy(folder / "test" / "ant" / "0.png", folder / "test" / "ant" / "broken.png")
    (folder / "train" / "cat" / "1.png").write_bytes(whole[: len(whole) // 2])
    dataset.facts.cache_clear()
    with pytest.raises(
        UserError, match=r"1 of 19 images in .* cannot be read: train/cat/1\.png \(.*\); replace or delete"
    ):
        load(folder)
    assert not list((folder / ".cache").glob("*.safetensors")), "nothing half-decoded is kept"


LAYOUTS = [
    ({}, "holds no images in folders of classes; expected FOLDER/train/CLASS"),
    ({"a.png": 1}, "holds no images in folders of classes"),
    ({"train/ant/a.png": 1}, "has train/ but no test/ (or val/) beside it"),
    ({"train/ant/a.png": 1, "train/bee/a.png": 1, "test/cow/a.png": 1}, "has classes that train/ lacks: cow"),
    ({"train/ant/a.png": 1, "test/ant/a.png": 1}, "has 1 class of images, and at least 2 are needed"),
    ({"ant/a.png": 1, "ant/b.png": 1, "bee/a.png": 1}, "class 'bee' of"),
    ({"ant/a.png": 1, "ant/b.png": 1, "bee/a.txt": 1}, "no images in bee of"),
]


@pytest.mark.parametrize(("files", "message"), LAYOUTS)
def test_a_wrong_layout_says_what_was_expected(tmp_path, files, message, capsys):
    root = tmp_path / "wrong"
    root.mkdir()
    for name in files:
        save(root / name, picture(0)) if name.endswith("png") else (root / name).parent.mkdir(parents=True)
    words = ["--data=imagefolder", f"--path_to_data={root}", f"--out_path={tmp_path / 'out'}"]
    assert main.main(words) == 2
    printed = capsys.readouterr()
    assert message in printed.err and printed.err.count("\n") == 1 and not (tmp_path / "out").exists()


def test_images_that_fit_into_no_memory_are_refused(folder, monkeypatch):
    monkeypatch.setattr("Utils.data.image_spec.total_memory", lambda: 1000.0)
    with pytest.raises(UserError, match="give a smaller --image_size"):
        load(folder)


def test_by_command_line_and_content_names_the_run(folder, tmp_path, capsys):
    words = ["--architecture=lenet5", "--data=imagefolder", f"--path_to_data={folder}", "--image_size", "20", "24",
             "--iterations=3", "--evaluate_every=1", "--pruner=snip", f"--out_path={tmp_path / 'out'}"]  # fmt: skip
    assert main.main(words) == 0
    assert main.main(words) == 0
    assert "complete already" in capsys.readouterr().out
    (row,) = (row for _, row in load_summaries(tmp_path / "out").iterrows())
    pooled = (((20 - 4) // 2 - 4) // 2) * (((24 - 4) // 2 - 4) // 2)
    assert row["prunable"] == 3 * 6 * 25 + 6 * 16 * 25 + 16 * pooled * 120 + 120 * 84 + 84 * 3
    (record,) = (tmp_path / "out").rglob("run.json")
    identity = json.loads(record.read_text())["identity"]
    assert identity["data_key"] and identity["image_size"] == [20, 24] and identity["batch_size"] == 15
    shutil.copytree(folder, tmp_path / "moved")
    moved = [word.replace(str(folder), str(tmp_path / "moved")) for word in words]
    assert main.main(moved) == 0
    assert "complete already" in capsys.readouterr().out, "the same images elsewhere are the same run"
    save(tmp_path / "moved" / "train" / "ant" / "0.png", picture(12345))
    dataset.facts.cache_clear()
    assert main.main(moved) == 0
    assert len(load_summaries(tmp_path / "out")) == 2
