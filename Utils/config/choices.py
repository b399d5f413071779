"""Choices: valid values of flags that take a name from a short list. This file imports nothing, so no torch."""

DENSE = "dense"
"""The unpruned network; the name takes the place of a pruner in every command."""


PRUNING_TYPES = ("direct", "effective")


EFFECTIVE_TYPES = ("exact", "graph")


EFFECTIVE_ALIASES = {"synflow": "exact", "custom": "graph"}
"""Names in the original program, and their names here."""


AUGMENTATION_NAMES = ("none", "rotation", "shift-flip", "crop-flip", "resized-crop", "resized-crop-color")


LR_SCHEDULES = ("step", "constant", "cosine", "swa", "cyclic", "one-cycle")


LISTS = ("pruners", "architectures", "data", "experiments", "recipes", "figures", "aliases")
