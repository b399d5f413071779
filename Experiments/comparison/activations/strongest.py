"""Strongest activations: for each unit, the image and the position at which its absolute activation is largest."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor


@dataclass
class Strongest:
    """Largest absolute activation of each unit of a layer, streamed over batches; the first of equal ones counts."""

    activation: np.ndarray
    """float64 (units,), with its sign."""
    image: np.ndarray
    """int64 (units,): index of the image."""
    position: np.ndarray
    """int64 (units,): flat index of the position."""
    images: int
    """Number of images seen."""

    @classmethod
    def of(cls, values: Tensor) -> "Strongest":
        """Those of a batch of activations (images, units, …positions)."""
        series = values.flatten(2) if values.dim() > 2 else values[:, :, None]
        count, units, positions = series.shape
        flat = series.transpose(0, 1).reshape(units, -1).double().cpu().numpy()
        place = np.abs(flat).argmax(1)
        return cls(flat[np.arange(units), place], place // positions, place % positions, count)

    def merged(self, other: "Strongest") -> "Strongest":
        """Those of this batch and a later one."""
        is_later = np.abs(other.activation) > np.abs(self.activation)
        return Strongest(
            np.where(is_later, other.activation, self.activation),
            np.where(is_later, other.image + self.images, self.image),
            np.where(is_later, other.position, self.position),
            self.images + other.images,
        )
