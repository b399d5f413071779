"""Random pictures, and files of them."""

from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int, height: int = 12, width: int = 10, channels: int = 3) -> np.ndarray:
    """Random pixels (height, width, 3), uint8; (height, width) for one channel."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return pixels if channels == 3 else pixels[:, :, 0]


def save(path: Path, pixels: np.ndarray, **options) -> np.ndarray:
    """Write pixels to a file, below folders that need not exist; returns them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return pixels
