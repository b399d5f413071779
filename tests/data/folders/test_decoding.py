"""Decoding of image files: more than 8 bits, palettes, and reasons why files cannot be read."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import load, picture, save
from PIL import Image

import main
from Utils.data import dataset
from Utils.data.folders import decoding
from Utils.data.image_spec import ImageSpec
from Utils.errors import UserError

SHAPE = (12, 10)


pytestmark = pytest.mark.usefixtures("own_cache")


def grey_folder(root: Path, pixels: np.ndarray, suffix: str = "tif") -> Path:
    """Two classes of two images with the same pixels."""
    for name in ("ant/0", "ant/1", "bee/0", "bee/1"):
        save(root / f"{name}.{suffix}", pixels)
    return root


def pixels_of(root: Path) -> np.ndarray:
    """The first image (height, width); all are equal, and have one channel."""
    images = load(root).train.images
    assert images.shape[1] == 1 and (images == images[0]).all()
    return images[0, 0].numpy()


@pytest.mark.parametrize(("dtype", "suffix"), [
    (np.int32, "tif"), (np.float32, "tif"), (np.uint16, "tif"), (np.uint16, "png"), (np.uint16, "pgm"),
    (np.uint8, "tif"),
])  # fmt: skip
def test_values_up_to_255_are_kept_whatever_the_type(tmp_path, dtype, suffix):
    """Each type of Pillow's grey images: I, F, I;16 and L."""
    values = np.arange(120).reshape(SHAPE) * 2 + 17
    root = grey_folder(tmp_path / "images", values.astype(dtype), suffix)
    assert np.array_equal(pixels_of(root), values)


@pytest.mark.parametrize(("dtype", "suffix"), [
    (np.int32, "tif"), (np.float32, "tif"), (np.uint16, "tif"), (np.uint16, "png"), (np.uint16, "pgm"),
])  # fmt: skip
@given(seed=st.integers(0, 1000), peak=st.integers(256, 65535))
@settings(max_examples=5, deadline=None)
def test_values_beyond_255_are_those_of_16_bits(tmp_path_factory, dtype, suffix, seed, peak):
    values = np.random.default_rng(seed).integers(0, peak + 1, SHAPE)
    values[0, 0] = peak
    root = grey_folder(tmp_path_factory.mktemp("wide") / "images", values.astype(dtype), suffix)
    found = pixels_of(root)
    assert (abs(found - values * (255 / 65535)) <= 0.5).all()


def test_all_images_of_a_folder_have_one_white(tmp_path):
    """A dark image beside a bright one of 16 bits stays dark."""
    root = grey_folder(tmp_path / "images", np.full(SHAPE, 200, np.int32))
    save(root / "bee" / "2.tif", np.full(SHAPE, 200 * 257, np.uint16))
    save(root / "ant" / "2.tif", np.full(SHAPE, 51, np.uint8))
    loaded = load(root)
    values = sorted(int(image.max()) for split in (loaded.train, loaded.test) for image in split.images)
    assert values == [1, 1, 1, 1, 51, 200]


@pytest.mark.parametrize(("pixels", "reason"), [
    (np.full(SHAPE, -1, np.int32), r"pixels from -1 to -1, not within 0 to 65535"),
    (np.full(SHAPE, 65536, np.int32), r"pixels from 65536 to 65536, not within 0 to 65535"),
    (np.full(SHAPE, 70000, np.float32), r"pixels from 70000 to 70000, not within 0 to 65535"),
    (np.full(SHAPE, np.inf, np.float32), r"pixels from inf to inf, not within 0 to 65535"),
    (np.full(SHAPE, 0.5, np.float32), "pixels are fractions without a known range"),
    (np.full(SHAPE, np.nan, np.float32), "pixels are fractions without a known range"),
])  # fmt: skip
def test_other_values_are_refused_by_name(folder, capsys, pixels, reason):
    save(folder / "train" / "bee" / "odd.tif", pixels)
    with pytest.raises(UserError, match=rf"1 of 19 images in .* cannot be read: train/bee/odd\.tif \({reason}\)"):
        load(folder)


def palette(pixels: np.ndarray, colours: list) -> Image.Image:
    image = Image.fromarray(pixels.astype(np.uint8), "P")
    image.putpalette(np.array(colours, np.uint8).reshape(-1).tolist())
    return image


@pytest.mark.parametrize("suffix", ["gif", "png", "bmp", "tif"])
def test_palettes_that_hold_only_grey_are_grey(tmp_path, suffix):
    pixels = np.random.default_rng(0).integers(0, 3, SHAPE)
    colours = [[9, 9, 9], [200, 200, 200], [77, 77, 77], [255, 0, 0]]
    for name in ("ant/0", "ant/1", "bee/0", "bee/1"):
        path = tmp_path / "images" / f"{name}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        palette(pixels, colours).save(path)
    assert np.array_equal(pixels_of(tmp_path / "images"), np.array([9, 200, 77])[pixels]), "red is not used"
    grey_key = dataset.facts("imagefolder", str(tmp_path / "images")).key
    pixels[3, 4] = 3
    palette(pixels, colours).save(tmp_path / "images" / "ant" / f"0.{suffix}")
    assert load(tmp_path / "images").input_shape == (3, *SHAPE)
    assert dataset.facts("imagefolder", str(tmp_path / "images")).key != grey_key


def test_grey_gifs_are_grey(tmp_path):
    for values in (picture(0, channels=1), np.full(SHAPE, 7, np.uint8)):
        root = grey_folder(tmp_path / str(values.max()), values, "gif")
        assert np.array_equal(pixels_of(root), values)


def earlier_key(root: Path) -> str:
    """The key that versions computed which took palettes as colour, and grey values of any type as 16 bits."""
    files = [*sorted((root / "train").rglob("*.png")), *sorted((root / "test").rglob("*.png"))]
    content = [
        (path.relative_to(root).as_posix(), hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest())
        for path in files
    ]
    return hashlib.blake2b(json.dumps([1, content]).encode(), digest_size=8).hexdigest()


def key_with(root: Path, image: Image.Image) -> str | None:
    """The key of a folder to which an image is added."""
    image.save(root / "train" / "cat" / "9.png")
    load(root)
    return dataset.facts("imagefolder", str(root)).key


def test_a_key_stays_unless_the_decoded_images_change(folder, tmp_path):
    """The key of a folder is in the names of results on disk."""
    grey = tmp_path / "grey"
    for path in folder.rglob("*.png"):
        save(grey / path.relative_to(folder), picture(len(str(path)), channels=1))
    palette_of_grey = palette(np.zeros(SHAPE), [[5, 5, 5]])
    for value in (9, 9999):
        wide = Image.fromarray(np.full(SHAPE, value, np.uint16))
        for root in (folder, grey):
            assert (key_with(root, wide) == earlier_key(root)) == (value == 9999)
    assert key_with(folder, palette_of_grey) == earlier_key(folder), "colour beside it: three channels as before"
    assert key_with(grey, palette_of_grey) != earlier_key(grey)
    assert key_with(grey, Image.fromarray(picture(3, channels=1))) == earlier_key(grey)


def test_streamed_images_of_more_than_8_bits(tmp_path):
    """One image at a time is known, so the type of the file decides."""
    images = {
        "a.png": np.full((40, 40), 257 * 80, np.uint16), "b.tif": np.full((40, 40), 80, np.int32),
        "c.tif": np.full((40, 40), 80, np.float32), "d.pgm": np.full((40, 40), 257 * 80, np.uint16),
        "e.png": np.full((40, 40, 3), 80, np.uint8),
    }  # fmt: skip
    for part in ("train", "val"):
        for name in ("ant", "bee"):
            for file, pixels in images.items():
                save(tmp_path / part / name / file, pixels)
    loaded = dataset.load("imagenet", str(tmp_path), ImageSpec((3, 32, 32), (32, 32), 3))
    batches = torch.cat([images for images, _ in loaded.test.batches([slice(0, 10)])])
    assert (batches == 80).all() and batches.shape == (10, 3, 32, 32)
    save(tmp_path / "val" / "bee" / "b.tif", np.full((40, 40), 256, np.int32))
    with pytest.raises(UserError, match=r"val/bee/b.tif \(pixels from 256 to 256, not within 0 to 255\); replace"):
        list(loaded.test.batches([slice(0, 10)]))


@pytest.mark.parametrize("data", ["imagefolder", "imagenet"])
def test_forbidden_files_are_not_called_damaged(folder, monkeypatch, capsys, tmp_path, data):
    """Removed permissions do not stop an administrator, so the calls of the system fail instead."""
    (folder / "test").rename(folder / "val")

    def denied(path, *arguments, **keywords):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", denied)
    monkeypatch.setattr(decoding.Image, "open", denied)
    with pytest.raises(UserError, match=r"cannot be read: train/ant/0\.png \(permission denied\)") as caught:
        loaded = dataset.load(data, str(folder), ImageSpec((3, 32, 32), (32, 32), 3))
        list(dataset.Batches(loaded, loaded.train, 15))
    text = str(caught.value)
    assert text.endswith(" more; allow reading them") and text.count("permission denied") == 5 and "\n" not in text


def test_pipes_and_missing_files_are_named_at_once(folder, capsys, tmp_path):
    os.mkfifo(folder / "train" / "bee" / "pipe.png")
    (folder / "train" / "bee" / "device.png").symlink_to("/dev/zero")
    for data in ("imagefolder", "imagenet"):
        words = [f"--data={data}", f"--path_to_data={folder}", f"--out_path={tmp_path / 'out'}"]
        (folder / "test").rename(folder / "val") if data == "imagenet" else None
        assert main.main([*words, "--architecture=imagenet/resnet18", "--image_size=32"]) == 2
        printed = capsys.readouterr().err
        assert "2 of 20 images in" in printed and printed.count("\n") == 1
        assert "train/bee/device.png (no regular file), train/bee/pipe.png (no regular file)" in printed
