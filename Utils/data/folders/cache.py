"""Image cache: the headers and decoded pixels of a folder's images, validated whenever they are read.

Nothing in a cache is trusted: names of files are computed by the caller, and a file of another form than expected, or
with another digest than it states, counts as absent.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from Utils.data.folders.decoding import WIDE_WHITE, Header
from Utils.errors import UserError
from Utils.files import reading

_KINDS = {"plain", "palette", "wide"}


class ImageCache:
    """Cache beside the images of a folder, or in the user's own cache folder if that cannot be written to."""

    def __init__(self, root: Path) -> None:
        self.folders: list[Path] = []
        # A link would lead writes out of the folder, which may be somebody else's download.
        if not os.path.islink(root / ".cache"):
            self.folders.append(root / ".cache")
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        if os.path.isabs(home):
            self.folders.append(Path(home) / "sparse-networks")

    def headers(self, name: str, count: int) -> list[Header] | None:
        """The stored headers of `count` files, or None."""
        return self._first(name, lambda path: _parse_headers(json.loads(path.read_bytes()), count))

    def keep_headers(self, name: str, headers: Sequence[Header]) -> bool:
        """Store headers; returns False if no folder can be written to."""
        content = json.dumps({"digest": _digest_of_headers(headers), "headers": headers})
        return self._write(name, lambda path: Path(path).write_text(content, encoding="utf-8"))

    def images(self, name: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor] | None:
        """The stored uint8 images of these shapes, by the name of their set, or None."""
        return self._first(name, lambda path: _read_images(path, shapes))

    def keep_images(self, name: str, images: dict[str, Tensor]) -> bool:
        """Store uint8 images by the name of their set; returns False if no folder can be written to."""
        metadata = {"digest": _digest_of_images(images)}
        return self._write(name, lambda path: save_file(images, path, metadata))

    def _first(self, name: str, read: Callable[[Path], Any]) -> Any:
        for folder in self.folders:
            with suppress(UserError), reading(folder / name, "an image cache"):
                return read(folder / name)
        return None

    def _write(self, name: str, write: Callable[[str], object]) -> bool:
        return any(_try_write(folder / name, write) for folder in self.folders)


def _parse_headers(content: Any, count: int) -> list[Header]:
    headers = [Header._make(row) for row in content["headers"]]
    if content["digest"] != _digest_of_headers(headers):
        raise ValueError("the digest differs")
    if len(headers) != count or not _are_headers(headers):
        raise ValueError("not the headers of these files")
    return headers


def _are_headers(headers: list[Header]) -> bool:
    columns = list(zip(*headers, strict=True))
    if [set(map(type, column)) for column in columns] != [{str}, {int}, {int}, {bool}, {str}, {int}]:
        return False
    digests, heights, widths, _, kinds, peaks = columns
    are_sizes = min(heights) > 0 and min(widths) > 0 and 0 <= min(peaks) <= max(peaks) <= WIDE_WHITE
    return are_sizes and set(map(len, digests)) == {32} and set(kinds) <= _KINDS


def _read_images(path: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    with safe_open(str(path), framework="pt") as file:
        # Shapes and types come first: nothing large is read from a file of another form.
        form = {name: (tuple((part := file.get_slice(name)).get_shape()), part.get_dtype()) for name in file.keys()}  # noqa: SIM118
        if form != {name: (shape, "U8") for name, shape in shapes.items()}:
            raise ValueError("not the images of these files")
        images = {name: file.get_tensor(name) for name in shapes}
        if (file.metadata() or {}).get("digest") != _digest_of_images(images):
            raise ValueError("the digest differs")
    return images


def _digest_of_headers(headers: Sequence[Header]) -> str:
    return _digest([json.dumps(headers).encode()])


def _digest_of_images(images: dict[str, Tensor]) -> str:
    return _digest([images[name].contiguous().numpy() for name in sorted(images)])


def _digest(parts: Sequence[Any]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _try_write(path: Path, write: Callable[[str], object]) -> bool:
    """Write a file whole or not at all; returns False if that fails."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        os.close(handle)
        write(temporary)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except (OSError, SafetensorError):
        return False
    finally:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)
    return True
