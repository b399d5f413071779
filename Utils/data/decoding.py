"""Image decoding: reads the headers and pixels of many files in worker processes, which load no PyTorch."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp"))

_CHUNK = 256
"""Files per call of a worker."""

_FEW = 512
"""Up to this number of files, starting workers takes longer than they save."""

_GREY_MODES = frozenset(("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L"))
_SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that swap height and width."""


class Header(NamedTuple):
    """Properties of an image file, read without decoding its pixels."""

    digest: str
    height: int
    width: int
    is_grey: bool


def read_headers(paths: Sequence[Path], label: str) -> list[Header | str]:
    """The header of each file, or the reason why it cannot be read."""
    return [header for part in _in_workers(_read_chunk_headers, paths, label) for header in part]


def decode(paths: Sequence[Path], size: tuple[int, int], channels: int, label: str) -> tuple[np.ndarray, list[str]]:
    """Decode files; returns uint8 images (n, channels, height, width), and `path (reason)` for each unreadable file.

    An image of another size is scaled until it covers `size`, and the excess is cropped on two sides.
    """
    images = np.empty((len(paths), channels, *size), np.uint8)
    failures: list[str] = []
    start = 0
    for part, part_failures in _in_workers(_decode_chunk, paths, label, size, channels):
        images[start : start + len(part)] = part
        start += len(part)
        failures += part_failures
    return images, failures


def _in_workers(function: Callable, paths: Sequence[Path], label: str, *arguments: Any) -> Iterator[Any]:
    from joblib import Parallel, delayed

    remaining = iter(paths)
    chunks = list(iter(lambda: list(islice(remaining, _CHUNK)), []))
    workers = Parallel(n_jobs=1 if len(paths) <= _FEW else -1, return_as="generator")
    with tqdm(total=len(paths), desc=label, unit="image", disable=None, dynamic_ncols=True) as bar:
        calls = (delayed(function)(chunk, *arguments) for chunk in chunks)
        for chunk, result in zip(chunks, workers(calls), strict=True):
            bar.update(len(chunk))
            yield result


def _read_chunk_headers(paths: Sequence[Path]) -> list[Header | str]:
    return [_read_header(path) for path in paths]


def _read_header(path: Path) -> Header | str:
    try:
        content = path.read_bytes()
        with Image.open(BytesIO(content)) as image:
            width, height = image.size
            if "exif" in image.info and image.getexif().get(0x0112) in _SIDEWAYS:
                width, height = height, width
            is_grey = image.mode in _GREY_MODES
    except Exception as error:  # Pillow's decoders raise errors of many types on damaged files
        return _reason(error)
    return Header(hashlib.blake2b(content, digest_size=16).hexdigest(), height, width, is_grey)


def _decode_chunk(paths: Sequence[Path], size: tuple[int, int], channels: int) -> tuple[np.ndarray, list[str]]:
    images = np.zeros((len(paths), channels, *size), np.uint8)
    failures = []
    for index, path in enumerate(paths):
        try:
            images[index] = _decode_image(path, size, channels)
        except Exception as error:
            failures.append(f"{path} ({_reason(error)})")
    return images, failures


def _decode_image(path: Path, size: tuple[int, int], channels: int) -> np.ndarray:
    height, width = size
    with Image.open(path) as opened:
        mode = "L" if channels == 1 else "RGB"
        if opened.format == "JPEG" and min(opened.size) > 2 * max(size):
            opened.draft(mode, (width, height))  # decodes large photographs at a fraction of their size
        image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I"):  # 16 bits; `convert` would clip them at 255
        image = Image.fromarray((np.asarray(image, dtype=np.float64) / 257).round().clip(0, 255).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("pixels are floating-point numbers without a known range")
    image = image.convert(mode)
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "no image that Pillow can read" if type(error).__name__ == "UnidentifiedImageError" else str(error)
