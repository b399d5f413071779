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

from Utils.data.folders.messages import reason

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp"))

_CHUNK = 256
"""Files per call of a worker."""

_FEW = 512
"""Up to this number of files, starting workers takes longer than they save."""

_GREY_MODES = ("1", "L", "LA", "La")
_SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that swap height and width."""

WHITE, WIDE_WHITE = 255, 65535
"""White of images of 8 and of 16 bits."""


class Header(NamedTuple):
    """Properties of an image file; only the pixels of palettes and of wide images are decoded for them."""

    digest: str
    height: int
    width: int
    is_grey: bool
    kind: str
    """"plain", "palette", or "wide": grey with more than 8 bits per pixel."""
    peak: int
    """Largest value of a wide image, 0 of all others."""


def read_headers(paths: Sequence[Path], label: str) -> list[Header | str]:
    """The header of each file, or the reason why it cannot be read."""
    return [header for part in _in_workers(_read_chunk_headers, paths, label) for header in part]


def decode(
    paths: Sequence[Path], size: tuple[int, int], channels: int, white: int, label: str
) -> tuple[np.ndarray, dict[int, str]]:
    """Decode files; returns uint8 images (n, channels, height, width), and why files cannot be read, by their index.

    `white` is the largest value of wide images. An image of another size is scaled until it covers `size`, and the
    excess is cropped on two sides.
    """
    images = np.empty((len(paths), channels, *size), np.uint8)
    failures: dict[int, str] = {}
    start = 0
    for part, part_failures in _in_workers(_decode_chunk, paths, label, size, channels, white):
        images[start : start + len(part)] = part
        failures |= {start + index: why for index, why in part_failures.items()}
        start += len(part)
    return images, failures


def to_mode(image: Image.Image, mode: str, white: int | None = None) -> Image.Image:
    """Convert an image to "L" or "RGB"; raises `ValueError` for values outside 0 to `white` in a wide image.

    Without `white`, files of 16 bits reach 65535, all others 255.
    """
    if _is_wide(image):
        has_16_bits = image.mode.startswith("I;16") or image.format == "PPM"
        white = white or (WIDE_WHITE if has_16_bits else WHITE)
        # `convert` would clip the values at 255.
        pixels = _wide_pixels(image, white).astype(np.float64) / (white / WHITE)
        image = Image.fromarray(pixels.round().astype(np.uint8))
    return image.convert(mode)


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
            kind = "wide" if _is_wide(image) else "palette" if image.mode in ("P", "PA") else "plain"
            is_grey = kind == "wide" or image.mode in _GREY_MODES or (kind == "palette" and _has_grey_palette(image))
            peak = int(_wide_pixels(image, WIDE_WHITE).max()) if kind == "wide" else 0
    except Exception as error:  # Pillow's decoders raise errors of many types on damaged files
        return reason(error)
    return Header(hashlib.blake2b(content, digest_size=16).hexdigest(), height, width, is_grey, kind, peak)


def _is_wide(image: Image.Image) -> bool:
    return image.mode.startswith("I") or image.mode == "F"


def _wide_pixels(image: Image.Image, white: int) -> np.ndarray:
    pixels = np.asarray(image)
    if not np.array_equal(pixels, np.rint(pixels)):
        raise ValueError("pixels are fractions without a known range")
    if pixels.min() < 0 or pixels.max() > white:
        raise ValueError(f"pixels from {pixels.min():.0f} to {pixels.max():.0f}, not within 0 to {white}")
    return pixels


def _has_grey_palette(image: Image.Image) -> bool:
    """Whether all colours that the pixels use are grey."""
    colours = np.array(image.getpalette("RGB") or []).reshape(-1, 3)
    used = np.flatnonzero(image.histogram()[: len(colours)])
    return bool((colours[used] == colours[used, :1]).all())


def _decode_chunk(
    paths: Sequence[Path], size: tuple[int, int], channels: int, white: int
) -> tuple[np.ndarray, dict[int, str]]:
    images = np.zeros((len(paths), channels, *size), np.uint8)
    failures = {}
    for index, path in enumerate(paths):
        try:
            images[index] = _decode_image(path, size, channels, white)
        except Exception as error:
            failures[index] = reason(error)
    return images, failures


def _decode_image(path: Path, size: tuple[int, int], channels: int, white: int) -> np.ndarray:
    height, width = size
    with Image.open(path) as opened:
        mode = "L" if channels == 1 else "RGB"
        if opened.format == "JPEG" and min(opened.size) > 2 * max(size):
            opened.draft(mode, (width, height))  # decodes large photographs at a fraction of their size
        image = to_mode(ImageOps.exif_transpose(opened), mode, white)
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
