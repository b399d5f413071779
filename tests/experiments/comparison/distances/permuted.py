"""Networks to compare, and copies of them with permuted units, which compute the same function."""

import copy
from collections.abc import Mapping

import numpy as np
import torch
from networks import random_masks
from torch import nn

from Experiments.comparison.distances.symmetries import Symmetries, symmetries_of
from Experiments.comparison.networks import Network
from Layers import MaskedConv2d, MaskedLinear


def network(model: nn.Module, shape: tuple[int, ...], name: str = "a s0", group: str = "a", sample: int = 0) -> Network:
    return Network(name, group, sample, model.eval(), shape, "", "")


def masked(model: nn.Module, density: float, seed: int = 0) -> nn.Module:
    """The model with random masks."""
    random_masks(model, density, seed).install(model)
    return model


def symmetries(own: Network) -> Symmetries:
    return symmetries_of(own.model, own.input_shape, own.layers)


def random_partners(own: Symmetries, seed: int = 0) -> np.ndarray:
    partners, generator = own.identity, np.random.default_rng(seed)
    for stream in own.streams:
        partners[stream] = generator.permutation(stream)
    return partners


def permuted(own: Network, partners: np.ndarray, norms: Mapping[str, str] | None = None) -> Network:
    """A copy of a network in which the unit at each place comes from the partner of the place.

    `norms` maps modules with a value per channel to the layer before them.
    """
    model = copy.deepcopy(own.model)
    axes = symmetries(own).layers
    with torch.no_grad():
        for name, (units, channels) in axes.items():
            rows, columns = (torch.from_numpy(axis.moved(partners)) for axis in (units, channels))
            layer = model.get_submodule(name)
            for value in (layer.weight, layer.weight_mask):
                value.copy_(value[rows][:, columns].clone())
            if layer.bias is not None:
                layer.bias.copy_(layer.bias[rows].clone())
        for name, before in (norms or {}).items():
            rows = torch.from_numpy(axes[before].units.moved(partners))
            norm = model.get_submodule(name)
            for value in [*norm.parameters(), *norm.buffers()]:
                if value.dim() == 1:
                    value.copy_(value[rows].clone())
    return network(model, own.input_shape, "b s1", "b", 1)


def inputs(own: Network) -> torch.Tensor:
    return torch.randn(5, *own.input_shape, generator=torch.Generator().manual_seed(1))


def flattening() -> nn.Module:
    """Convolutions, a flattened map of 2 x 3 positions, and dense layers."""
    return nn.Sequential(
        MaskedConv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), MaskedConv2d(6, 5, 3, padding=1),
        nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(), MaskedLinear(5 * 6, 8), nn.ReLU(), MaskedLinear(8, 3),
    )  # fmt: skip


class Blocks(nn.Module):
    """A residual network of two stages with projections."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = MaskedConv2d(2, 8, 3, padding=1)
        self.first, self.second = MaskedConv2d(8, 7, 3, padding=1), MaskedConv2d(7, 8, 3, padding=1)
        self.third, self.fourth = MaskedConv2d(8, 9, 3, padding=1), MaskedConv2d(9, 12, 3, padding=1)
        self.shortcut = MaskedConv2d(8, 12, 1)
        self.head = MaskedLinear(12, 3)

    def forward(self, x):
        x = self.stem(x).relu()
        x = (x + self.second(self.first(x).relu())).relu()
        x = (self.shortcut(x) + self.fourth(self.third(x).relu())).relu()
        return self.head(x.mean((2, 3)))


PLANTED = {
    "dense": (lambda: nn.Sequential(nn.Flatten(), MaskedLinear(12, 9), nn.ReLU(), MaskedLinear(9, 7), nn.Tanh(),
                                    MaskedLinear(7, 4)), (3, 4), {}),
    "convolution, flattened": (flattening, (1, 4, 6), {"4": "3"}),
    "residual": (Blocks, (2, 4, 4), {}),
}  # fmt: skip
