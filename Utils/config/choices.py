"""Choices: valid values of flags that take a name from a list. Loads no PyTorch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

DENSE = "dense"
"""The unpruned network; the name takes the place of a pruner in every command."""


PRUNING_TYPES = ("direct", "effective")


EFFECTIVE_TYPES = ("exact", "graph")


EFFECTIVE_ALIASES = {"synflow": "exact", "custom": "graph"}
"""Names in the original program, and their names here."""


AUGMENTATION_NAMES = ("none", "rotation", "shift-flip", "crop-flip", "resized-crop", "resized-crop-color")


AUGMENTATION_REVISIONS = {"crop-flip": 1, "shift-flip": 1}
"""Raised when an augmentation changes, so that earlier results do not pass for those of the new one; 0 if missing."""


WEIGHT_DECAY_SCOPES = ("kernels", "all")


OPTIMIZERS = ("sgd", "momentum", "nesterov", "adam", "rmsprop")


LR_SCHEDULES = ("step", "constant", "cosine", "swa", "cyclic", "one-cycle")


WEIGHT_INITS = (
    "signed-constant",
    "unsigned-constant",
    "kaiming-normal",
    "kaiming-uniform",
    "xavier-normal",
    "xavier-constant",
    "standard",
)
"""Initial kernels by name; see `Models/weight_inits.py`."""

UNCHANGED = "unchanged"
"""The initial kernels of the network itself; the name takes the place of one of those above."""


LISTS = ("pruners", "architectures", "data", "experiments", "recipes", "figures", "aliases")


@dataclass(frozen=True)
class ValidNames:
    """The valid values of one registry, and the function that turns any spelling of a name into the canonical one."""

    what: str
    valid: Sequence[str]
    canonical: Callable[[str], str] = str
    shown: Sequence[str] | None = None
    """Values for `--help` and errors, where the list of all valid values is too long; None: all valid values."""
    listed_by: str | None = None
    """The command that lists the values, for errors that suggest one; None: these errors list them, too."""
    is_further: Callable[[str], bool] = lambda text: False
    """Whether a value outside the registry may still be valid; the code that uses the value checks it."""
