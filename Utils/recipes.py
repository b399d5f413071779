"""How is an architecture trained on a data set, unless flags say otherwise?"""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Recipe:
    """Values for the settings that are left out, and where they come from."""

    source: str
    iterations: int
    lr_drops: tuple[int, ...]
    weight_decay: float
    lr: float = 0.1
    lr_drop_rate: float = 0.1
    optimizer: str = "momentum"
    momentum: float = 0.9
    batch_size: int = 128
    evaluate_every: int = 1000
    prune_examples: int = 300 * 128
    augmentation: str | None = None
    """None: that of the data set."""


_PAPER = "effective-sparsity program"
_SHORT = "short"
_COMMON = "common values, 100 epochs"
_OTHER = "as on its own data"

# Keras' L2 coefficient c adds c w^2 to the loss: a weight decay of 2c.
_LENET300100 = Recipe(_PAPER, 96000, (25000, 50000, 75000), weight_decay=1e-3, batch_size=100, prune_examples=300 * 100)
_LENET5 = Recipe(_PAPER, 120000, (30000, 60000, 90000), weight_decay=1e-3)
_DIGITS = Recipe(_SHORT, 1500, (750, 1125), weight_decay=1e-3, batch_size=64, evaluate_every=250, prune_examples=1437)

RECIPES: dict[tuple[str, str], Recipe] = {
    ("lenet300100", "mnist"): _LENET300100,
    ("lenet300100", "fashion-mnist"): replace(_LENET300100, source=_OTHER),
    ("lenet300100", "cifar10"): replace(_LENET300100, source=_OTHER),
    ("lenet300100", "cifar100"): replace(_LENET300100, source=_OTHER),
    ("lenet300100", "digits"): _DIGITS,
    ("lenet5", "cifar10"): _LENET5,
    ("lenet5", "cifar100"): replace(_LENET5, source=_OTHER),
    ("lenet5", "mnist"): replace(_LENET5, source=_OTHER),
    ("lenet5", "fashion-mnist"): replace(_LENET5, source=_OTHER),
    ("lenet5", "digits"): _DIGITS,
}


_COMMON_EPOCHS = 100
_COMMON_BATCH = 128


def recipe(architecture: str, data: str, images: int) -> Recipe:
    """The recipe of an architecture on a data set of so many training images; a common one where none was published."""
    if (architecture, data) in RECIPES:
        return RECIPES[architecture, data]
    if data == "digits":
        return _DIGITS
    return common(images)


def common(images: int) -> Recipe:
    """What most networks train well with: 100 epochs, the rate dropping after a half and three quarters."""
    steps = max(1, images // _COMMON_BATCH)
    iterations = _COMMON_EPOCHS * steps
    return Recipe(
        _COMMON, iterations, (iterations // 2, iterations * 3 // 4), weight_decay=5e-4, lr=0.05,
        batch_size=_COMMON_BATCH, evaluate_every=steps, prune_examples=min(images, 100 * _COMMON_BATCH),
    )  # fmt: skip
