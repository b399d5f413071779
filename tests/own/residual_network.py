"""A network as a user would write one: plain layers, a residual sum, no word of masks."""

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, channels: int, filters: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(filters)
        self.second = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(filters)
        is_same = channels == filters and stride == 1
        self.shortcut = nn.Identity() if is_same else nn.Conv2d(channels, filters, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(y)) + self.shortcut(x))


class Network(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.blocks = nn.Sequential(Block(16, 16, 1), Block(16, 32, 2), Block(32, 32, 1))
        self.head = nn.Linear(32, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(F.relu(self.stem(x)))
        return self.head(x.mean((2, 3)))


def residual(classes: int = 10) -> nn.Module:
    return Network(classes)


def for_any_image(input_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    channels, height, width = input_shape
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, 20), nn.ReLU(), nn.Linear(20, num_classes))


class Optional(nn.Module):
    """A second input that may be left out."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(784, 10)

    def forward(self, x: torch.Tensor, scale: torch.Tensor | None = None, is_loud: bool = False) -> torch.Tensor:
        x = self.fc(x.flatten(1))
        if scale is not None:
            x = x * scale
        return -x if is_loud else x


class Frozen(nn.Module):
    """A layer that is not trained, and one that the loss does not depend on."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.aside, self.out = nn.Linear(784, 12), nn.Linear(12, 12), nn.Linear(12, 10)
        self.fc.weight.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.fc(x.flatten(1)).relu()
        return self.out(x + self.aside(x).detach())


def halved() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).half()
