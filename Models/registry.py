"""Registry of architectures, readable without torch.

To add an architecture, write a function `(input_shape, classes, batchnorm) -> nn.Module` in a file of this folder, and
add an entry below. Two families need no entry: `imagenet/NAME` is any classifier of torchvision, `FILE.py:FACTORY` or
`module:FACTORY` is the user's own network.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from Models.torchvision_names import torchvision_names


class Architecture(NamedTuple):
    """One entry of the registry."""

    target: str
    label: str
    about: str
    data: str | None
    """Default of `--data`, the data set of the architecture's recipe; None if it has none."""
    input_shape: tuple[int, int, int] | None
    """Native (channels, height, width) of the input; None if it has to be determined by running the network."""
    prunable: int | None = None
    """Number of prunable weights for the native input shape and the classes of that data set."""
    any_channels: bool = True
    """Whether the number of input channels is adjustable; otherwise grey images are repeated."""
    options: dict[str, Any] = {}
    """Additional keyword arguments of the function."""
    has_batchnorm: bool = True
    """Whether it has batch normalisation, or may have."""
    is_small: bool = False
    """Whether a single CPU thread trains the network about as fast as several."""


IMAGENET = "imagenet/"
ARCHITECTURES: dict[str, Architecture] = {
    "lenet300100": Architecture(
        "Models.lenet:lenet300100", "LeNet-300-100", "two hidden layers, batch normalisation (LeCun et al. 1998)",
        "mnist", (1, 28, 28), 266_200, is_small=True,
    ),
    "lenet5": Architecture(
        "Models.lenet:lenet5", "LeNet-5", "two convolutions, three dense layers (LeCun et al. 1998)",
        "cifar10", (3, 32, 32), 61_770, is_small=True,
    ),
    "vgg16": Architecture(
        "Models.vgg:vgg", "VGG-16", "effective-sparsity's: 13 convolutions, one dense layer", "cifar10", (3, 32, 32),
        14_715_584, options={"depth": 16},
    ),
    "vgg19": Architecture(
        "Models.vgg:vgg", "VGG-19", "effective-sparsity's: 16 convolutions, one dense layer", "cifar100", (3, 32, 32),
        20_070_080, options={"depth": 19},
    ),
    "resnet18": Architecture(
        "Models.resnet:resnet18", "ResNet-18", "effective-sparsity's, for 64 x 64 images", "tinyimagenet", (3, 64, 64),
        11_261_632,
    ),
    **{
        f"lottery/vgg{depth}{suffix}": Architecture(
            "Models.vgg:lottery_vgg", f"VGG-{depth}{suffix.upper()} (lottery)",
            f"OpenLTH's, {'with' if suffix else 'without'} batch normalisation (Frankle & Carbin 2019)", "cifar10",
            (3, 32, 32), prunable, options={"depth": depth, "is_normalised": bool(suffix)},
            has_batchnorm=bool(suffix),
        )
        for depth, prunable in ((11, 9_222_848), (13, 9_407_168), (16, 14_715_584), (19, 20_024_000))
        for suffix in ("", "-bn")
    },
    **{
        f"lottery/resnet{depth}": Architecture(
            "Models.resnet:lottery_resnet", f"ResNet-{depth} (lottery)", "OpenLTH's (Frankle & Carbin 2019)", "cifar10",
            (3, 32, 32), prunable, options={"depth": depth},
        )
        for depth, prunable in (
            (20, 270_896), (32, 464_432), (44, 657_968), (56, 851_504), (110, 1_722_416), (1202, 19_334_192)
        )
    },
    **{
        f"lottery/wide-resnet{depth}": Architecture(
            "Models.resnet:lottery_resnet", f"Wide ResNet-{depth} (lottery)",
            "OpenLTH's, twice as wide (Frankle & Carbin 2019)", "cifar10", (3, 32, 32), prunable,
            options={"depth": depth, "width": 32},
        )
        for depth, prunable in (
            (20, 1_081_440), (32, 1_855_584), (44, 2_629_728), (56, 3_403_872), (110, 6_887_520), (1202, 77_334_624)
        )
    },
    **{
        f"tinyimagenet/vgg{depth}{suffix}": Architecture(
            "Models.vgg:tinyimagenet_vgg", f"VGG-{depth}{suffix.upper()} (Tiny ImageNet)",
            f"synaptic-flow's, three dense layers, {'with' if suffix else 'without'} batch normalisation",
            "tinyimagenet", (3, 64, 64), prunable, options={"depth": depth, "is_normalised": bool(suffix)},
            has_batchnorm=bool(suffix),
        )
        for depth, prunable in ((11, 12_568_256), (13, 12_752_576), (16, 18_060_992), (19, 23_369_408))
        for suffix in ("", "-bn")
    },
    **{
        f"tinyimagenet/{'wide-' if widening > 1 else ''}resnet{depth}": Architecture(
            "Models.resnet:tinyimagenet_resnet", f"{'Wide ' if widening > 1 else ''}ResNet-{depth} (Tiny ImageNet)",
            f"synaptic-flow's, a stem for small images{', blocks twice as wide inside' if widening > 1 else ''}",
            "tinyimagenet", (3, 64, 64), prunable, options={"depth": depth, "widening": widening},
        )
        for widening, sizes in (
            (1, ((18, 11_261_632), (34, 21_362_368), (50, 23_856_832), (101, 42_796_736), (152, 58_394_304))),
            (2, ((18, 22_247_104), (34, 42_448_576), (50, 67_167_936), (101, 125_101_760), (152, 172_811_968))),
        )
        for depth, prunable in sizes
    },
    **{
        f"union/vgg{depth}{suffix}": Architecture(
            "Models.vgg:union_vgg", f"VGG-{depth}{suffix.replace('_', '-').upper()} (union mask)",
            f"union-mask's, {'with' if suffix else 'without'} batch normalisation, last layer unmasked", "cifar10",
            (3, 32, 32), prunable, options={"depth": depth, "is_normalised": bool(suffix)},
            has_batchnorm=bool(suffix),
        )
        for depth, prunable in ((11, 9_742_016), (13, 9_926_336), (16, 15_234_752), (19, 20_543_168))
        for suffix in ("", "_bn")
    },
    **{
        f"union/resnet{depth}": Architecture(
            "Models.resnet:union_resnet", f"ResNet-{depth} (union mask)",
            "union-mask's, twice as wide, shortcuts and last layer unmasked", "cifar10", (3, 32, 32), prunable,
            options={"depth": depth},
        )
        for depth, prunable in (
            (20, 1_069_920), (32, 1_844_064), (44, 2_618_208), (56, 3_392_352), (110, 6_876_000), (1202, 77_323_104)
        )
    },
    "gem-miner/fc": Architecture(
        "Models.mlp:fc", "FC (Gem-Miner)", "sparse-network-analysis's: five hidden layers of 100 units, no biases",
        "mnist", (1, 28, 28), 119_400, options={"bias": False}, has_batchnorm=False, is_small=True,
    ),
    "gem-miner/resnet20": Architecture(
        "Models.resnet:gem_miner_resnet", "ResNet-20 (Gem-Miner)",
        "sparse-network-analysis's: scaled skips, shortcuts unmasked, no biases", "cifar10", (3, 32, 32), 268_336,
        options={"depth": 20},
    ),
    "fc": Architecture(
        "Models.mlp:fc", "FC", "synaptic-flow's: five hidden layers of 100 units", "mnist", (1, 28, 28), 119_400,
        has_batchnorm=False, is_small=True,
    ),
    "conv": Architecture(
        "Models.mlp:conv", "Conv", "synaptic-flow's: two convolutions and a dense layer", "mnist", (1, 28, 28),
        260_384, has_batchnorm=False,
    ),
    "mlp": Architecture(
        "Models.mlp:mlp", "MLP", "network-pruning's: hidden layers of 1000, 1000, 500 and 200 units, no biases",
        "mnist", (1, 28, 28), 2_386_000, has_batchnorm=False,
    ),
}  # fmt: skip
FAMILIES = {
    "imagenet/NAME": "a classifier of torchvision, as `imagenet/resnet18`; with `--pretrained` its own weights",
    "FILE.py:FACTORY": "your own network: what FACTORY of a file (or of a module, `module:FACTORY`) makes",
}


def architecture_names() -> list[str]:
    """All names except for the user's own networks."""
    return [*ARCHITECTURES, *(IMAGENET + name for name in torchvision_names())]


def canonical_architecture(name: str) -> str:
    """The canonical spelling of a name: the file path of a user's own network is normalised."""
    source, colon, factory = name.rpartition(":")
    return f"{os.path.normpath(source)}:{factory}" if colon and source else name


def is_user_network(name: str) -> bool:
    """Whether a name stands for the user's own network."""
    return ":" in name


def architecture(name: str) -> Architecture:
    """The registry entry of a name, for the two families as well. Raises `ValueError` for an unknown name."""
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    if is_user_network(name):
        label = name.rpartition("/")[2]
        return Architecture(
            "Models.user_network:user_network", label, FAMILIES["FILE.py:FACTORY"], None, None, any_channels=False
        )
    if name.startswith(IMAGENET) and name.removeprefix(IMAGENET) in torchvision_names():
        label = f"{name.removeprefix(IMAGENET)} (torchvision)"
        return Architecture(
            "Models.torchvision_models:imagenet",
            label,
            FAMILIES["imagenet/NAME"],
            "imagenet",
            (3, 224, 224),
            any_channels=False,
        )
    raise ValueError(f"unknown architecture {name!r}; there are: {', '.join(architecture_names())}")


def native_shape(name: str) -> tuple[tuple[int, int, int], int | None]:
    """The native input shape of an architecture, and its number of channels if that is fixed, else None."""
    entry = architecture(name)
    if entry.input_shape is not None:
        return entry.input_shape, None if entry.any_channels else entry.input_shape[0]
    from Models.user_network import user_network_shape

    return user_network_shape(name)
