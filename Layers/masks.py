"""Mask sets: an immutable value with set operations, a content hash and a file format."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor, nn

from Layers.masked import prunable
from Utils.errors import UserError
from Utils.files import reading


class NotMasksError(UserError):
    """A file is of another kind than a mask file."""


class Masks(Mapping[str, Tensor]):
    """One bool mask per prunable parameter, `True` = kept; no method changes the masks.

    `a | b`, `a & b`, `a - b` and `~a` are union, intersection, difference and complement.
    """

    def __init__(self, masks: Mapping[str, Tensor]) -> None:
        for name, mask in masks.items():
            if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
                kind = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
                raise ValueError(f"mask {name!r} must be a bool tensor, not {kind}")
        self._masks = {name: mask.detach() for name, mask in masks.items()}

    def __getitem__(self, name: str) -> Tensor:
        return self._masks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._masks)

    def __len__(self) -> int:
        return len(self._masks)

    def __repr__(self) -> str:
        return f"Masks({self.kept} of {self.total} kept in {len(self)} tensors)"

    def __eq__(self, other: object) -> bool:
        """Whether names, shapes and entries are equal, on any device."""
        if not isinstance(other, Mapping) or self.keys() != other.keys():
            return False
        return all(torch.equal(mask.cpu(), other[name].cpu()) for name, mask in self.items())

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def of(cls, model: nn.Module) -> "Masks":
        """Copy the current masks of a model."""
        return cls({name: mask.clone() for name, (_, mask) in prunable(model).items()})

    @classmethod
    def from_zeros(cls, model: nn.Module) -> "Masks":
        """Masks that prune the entries of kernels that are exactly 0, besides what the model's own masks prune.

        Biases and shifts are 0 before training, so their zeros say nothing.
        """
        return cls(
            {
                name: mask & (parameter != 0) if parameter.dim() > 1 else mask.clone()
                for name, (parameter, mask) in prunable(model).items()
            }
        )

    def install(self, model: nn.Module) -> None:
        """Copy these masks into a model.

        Raises `ValueError`, and leaves the model unchanged, unless names and shapes equal those of its masks.
        """
        model_masks = {name: mask for name, (_, mask) in prunable(model).items()}
        self._check_same_layout(model_masks)
        for name, mask in model_masks.items():
            mask.copy_(self[name])

    @property
    def kept(self) -> int:
        """Number of kept entries."""
        return sum(int(mask.sum()) for mask in self.values())

    @property
    def total(self) -> int:
        """Number of entries."""
        return sum(mask.numel() for mask in self.values())

    def __or__(self, other: Mapping[str, Tensor]) -> "Masks":
        return self._combine(other, torch.logical_or)

    def __and__(self, other: Mapping[str, Tensor]) -> "Masks":
        return self._combine(other, torch.logical_and)

    def __sub__(self, other: Mapping[str, Tensor]) -> "Masks":
        return self._combine(other, lambda mask, removed: mask & ~removed)

    def __invert__(self) -> "Masks":
        return Masks({name: ~mask for name, mask in self.items()})

    def overlap(self, other: Mapping[str, Tensor]) -> float:
        """Intersection over union of the kept entries; 1 if neither keeps any."""
        return _ratio((self & other).kept, (self | other).kept)

    def layer_overlap(self, other: Mapping[str, Tensor]) -> dict[str, float]:
        """`overlap` for each parameter."""
        both, either = self & other, self | other
        return {name: _ratio(int(both[name].sum()), int(either[name].sum())) for name in self}

    def shuffle(self, generator: torch.Generator) -> "Masks":
        """Permute the entries of each mask.

        The number of kept entries per mask stays the same. A mask with kept and pruned entries is certain to change.
        """

        def permute(mask: Tensor) -> Tensor:
            can_change = bool(mask.any()) and not bool(mask.all())
            while True:
                order = torch.randperm(mask.numel(), generator=generator, device=generator.device).to(mask.device)
                candidate = mask.flatten()[order].reshape(mask.shape)
                if not (can_change and torch.equal(candidate, mask)):
                    return candidate

        return Masks({name: permute(mask) for name, mask in self.items()})

    def to(self, device: torch.device | str) -> "Masks":
        """Return these masks on a device."""
        return Masks({name: mask.to(device) for name, mask in self.items()})

    def content_hash(self) -> str:
        """Hexadecimal SHA-256 of names, shapes and entries, independent of the device."""
        digest = hashlib.sha256()
        for name in sorted(self):
            digest.update(json.dumps([name, list(self[name].shape)]).encode())
            digest.update(_to_bits(self[name]).tobytes())
        return digest.hexdigest()

    def to_bytes(self) -> bytes:
        """Content of a mask file: safetensors with one bit per entry, and the shapes as metadata."""
        shapes = {name: list(mask.shape) for name, mask in self.items()}
        return save({name: _to_bits(mask) for name, mask in self.items()}, {"shapes": json.dumps(shapes)})

    def save(self, path: str | Path) -> None:
        """Write a mask file."""
        Path(path).write_bytes(self.to_bytes())

    @classmethod
    def load(cls, path: str | Path) -> "Masks":
        """Read a mask file.

        Raises `NotMasksError` if it holds something else, and `UnreadableError` or `DamagedError` if it cannot be read.
        """
        with reading(path, "a mask file"):
            try:
                opened = safe_open(str(path), framework="numpy")
            except SafetensorError as error:
                raise NotMasksError(f"{path} is not a mask file: {error}") from error
            with opened as file:
                metadata = file.metadata() or {}
                if "shapes" not in metadata:
                    raise NotMasksError(f"{path} is not a mask file: its metadata has no mask shapes")
                shapes = json.loads(metadata["shapes"])
                return cls({name: _from_bits(file.get_tensor(name), shape) for name, shape in shapes.items()})

    def _combine(self, other: Mapping[str, Tensor], operation: Callable[[Tensor, Tensor], Tensor]) -> "Masks":
        self._check_same_layout(other)
        return Masks({name: operation(mask, other[name].to(mask.device)) for name, mask in self.items()})

    def _check_same_layout(self, other: Mapping[str, Tensor]) -> None:
        missing, extra = sorted(self.keys() - other.keys()), sorted(other.keys() - self.keys())
        if missing or extra:
            parts = [f"these lack {', '.join(extra)}" * bool(extra), f"the others {', '.join(missing)}" * bool(missing)]
            raise ValueError(f"masks of different networks: {'; '.join(filter(None, parts))}")
        for name, mask in self.items():
            if mask.shape != other[name].shape:
                raise ValueError(f"mask {name!r} has shape {tuple(mask.shape)}, not {tuple(other[name].shape)}")


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _to_bits(mask: Tensor) -> np.ndarray:
    return np.packbits(mask.cpu().numpy().ravel())


def _from_bits(bits: np.ndarray, shape: list[int]) -> Tensor:
    if bits.dtype != np.uint8 or min(shape, default=0) < 0 or bits.size != -(-math.prod(shape) // 8):
        raise ValueError(f"a mask of shape {shape} cannot have {bits.size} entries of {bits.dtype}")
    return torch.from_numpy(np.unpackbits(bits, count=math.prod(shape)).astype(bool)).reshape(shape)
