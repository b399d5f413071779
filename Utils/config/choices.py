"""Valid values of the flags that choose one of a few names."""

DENSE = "dense"
"""The unpruned network, which takes a pruner's place in every command."""


PRUNING_TYPES = ("direct", "effective")


EFFECTIVE_TYPES = ("exact", "graph")


EFFECTIVE_ALIASES = {"synflow": "exact", "custom": "graph"}
"""The names of the original program."""


AUGMENTATION_NAMES = ("none", "rotation", "shift-flip", "crop-flip", "resized-crop", "resized-crop-color")


LR_SCHEDULES = ("step", "constant", "cosine", "swa", "cyclic", "one-cycle")


LISTS = ("pruners", "architectures", "data", "experiments", "recipes", "figures", "aliases")
