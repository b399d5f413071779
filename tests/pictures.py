"""Random pictures, files of them, and folders of such files."""

from pathlib import Path

import numpy as np
from PIL import Image

from Utils.data import dataset
from Utils.data.image_spec import ImageSpec

CLASSES = ("ant", "bee", "cat")


def picture(seed: int, height: int = 12, width: int = 10, channels: int = 3) -> np.ndarray:
    """Random pixels (height, width, 3), uint8; (height, width) for one channel."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return pixels if channels == 3 else pixels[:, :, 0]


def save(path: Path, pixels: np.ndarray, **options) -> np.ndarray:
    """Write pixels to a file, below folders that need not exist; returns them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return pixels


def two_sets(root: Path) -> Path:
    """Write 15 training and 3 test images of three classes below a folder; returns it."""
    for number, name in enumerate(CLASSES):
        for index in range(4 + number):
            save(root / "train" / name / f"{index}.png", picture(10 * number + index))
        save(root / "test" / name / "0.png", picture(100 + number))
    return root


def load(root: Path, **spec) -> dataset.Data:
    """The images below a folder, read anew; keywords are those of the image spec."""
    dataset.facts.cache_clear()
    dataset.read.cache_clear()
    return dataset.load("imagefolder", str(root), ImageSpec((3, 32, 32), **spec))
