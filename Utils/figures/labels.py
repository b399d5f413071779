"""Words of the legend: the settings in which the runs of a figure differ, and nothing that they share."""

import re
from collections.abc import Collection, Mapping, Sequence

from Utils.config.choices import DENSE
from Utils.config.groups import Training

Variant = tuple[str, ...]
"""The settings of a run that are not its defaults, each as `name=value`, in alphabetical order."""

_SHOWN_BY_FIGURES = {
    "experiment", "architecture", "data", "pruner", "algorithm", "pruning_type", "sample", "target_sparsity", "com_exp",
    "sanity_checks", "exponents",
}  # fmt: skip
"""Settings that figures show in other ways; the legend names any other setting that differs.

The algorithm of a search for a mask is the pruner of its rows, and sanity checks do not change the searched network.
"""

_WORDS = {
    "grow=gradient": "RigL", "grow=random": "SET", "shuffle=1": "shuffled", "reinitialize=1": "reinitialized",
    "invert=1": "inverted", "arm=union": "union mask", "arm=vanilla": "vanilla",
    "arm=vanilla-cyclic": "vanilla-cyclic", "unflag=1": "unflagged",
}  # fmt: skip
"""Settings that the field has a word for; others read as the flag that sets them."""

_TRAINING = set(vars(Training()))


def variant_of(settings: str) -> Variant:
    """The non-default settings in the `settings` column of `summary.csv`, without those shown in other ways."""
    tokens = (token.removeprefix("--") for token in settings.split(" --"))
    return tuple(sorted(token for token in tokens if "=" in token and token.split("=")[0] not in _SHOWN_BY_FIGURES))


def spelled_out(settings: str, methods: Mapping[str, str]) -> str:
    """The text of settings with the default of each method that it leaves out, such as `--grow=gradient`."""
    names = {token.partition("=")[0] for token in f" {settings}".split(" --")}
    return " ".join([settings, *(f"--{name}={value}" for name, value in methods.items() if name not in names)]).strip()


def differences(runs: Collection[tuple[str, Variant]]) -> dict[tuple[str, Variant], tuple[str, ...]]:
    """For each pruner and variant, the words for those of its settings that tell it from the others of the figure.

    Dense networks have no settings of pruning, so only how they were trained is compared with pruned networks.
    """
    values = {run: dict(token.split("=", 1) for token in run[1]) | {"pruner": run[0]} for run in runs}
    is_trained_otherwise = _differing(list(values.values())) & _TRAINING
    names = {
        is_dense: is_trained_otherwise
        | _differing([one for (pruner, _), one in values.items() if (pruner == DENSE) == is_dense])
        for is_dense in (True, False)
    }
    return {run: _words(run[1], names[run[0] == DENSE]) for run in values}


def _words(variant: Variant, names: Collection[str]) -> tuple[str, ...]:
    """The words for those settings of a variant that have one of the names, flags last."""
    words = (_WORDS.get(token, token) for token in variant if token.partition("=")[0] in names)
    return tuple(sorted(words, key=lambda word: "=" in word))


def _differing(runs: Sequence[dict[str, str]]) -> set[str]:
    """Names of settings that differ between runs, without what follows from another setting of the same runs."""
    names = {name for run in runs for name in run}
    differing = {name for name in names if len({run.get(name) for run in runs}) > 1}
    # An arm brings its own cycles and learning rates, and a method its revision.
    by_arm = {name for name in differing - {"arm"} if "arm" in differing and _follows(runs, name, "arm")}
    by_pruner = {name for name in differing if name.endswith("_revision") and _follows(runs, name, "pruner")}
    return differing - by_arm - by_pruner - {"pruner"}


def _follows(runs: Sequence[dict[str, str]], name: str, other: str) -> bool:
    """Whether runs with the same value of the setting `other` have the same value of `name`."""
    return len({(run.get(other), run.get(name)) for run in runs}) == len({run.get(other) for run in runs})


def natural_order(words: Sequence[str]) -> list[tuple[int, float, str]]:
    """A key that sorts labels by the numbers in them."""
    parts = re.split(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)", ", ".join(words))
    return [(0, float(part), "") if index % 2 else (1, 0.0, part) for index, part in enumerate(parts)]


def label_of(pruner: str, words: Sequence[str], is_only_pruner: bool = False) -> str:
    """The label of a series: its pruner, then its words; the words alone if they suffice and all have one pruner."""
    label = ", ".join(words if is_only_pruner and words else filter(None, (pruner, *words)))
    return label if "=" in label.partition(",")[0] else label[:1].upper() + label[1:]
