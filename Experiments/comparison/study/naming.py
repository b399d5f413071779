"""Names of compared networks: short, and different for any two runs that differ."""

from collections import Counter
from collections.abc import Sequence

from Pruners.learned import LEARNED
from Utils.config.choices import DENSE
from Utils.config.groups import Run
from Utils.figures.labels import differences, variant_of
from Utils.results.run_selection import StoredRun


def groups_of(runs: Sequence[StoredRun]) -> list[str]:
    """The group of each run: its pruner, its density, and the settings that tell it from others of its pruner.

    Runs of one group differ in their samples alone, such as those of `synflow 2%`.
    """
    methods = [_method(run) for run in runs]
    words = {}
    for method in dict.fromkeys(methods):
        own = [_variant(run) for run, name in zip(runs, methods, strict=True) if name == method]
        words |= {(method, variant[1]): text for variant, text in differences(own).items()}
    parts = [
        (method, _density(run), *words[method, _variant(run)[1]]) for run, method in zip(runs, methods, strict=True)
    ]
    return [" ".join(filter(None, own)) for own in parts]


def names_of(groups: Sequence[str], samples: Sequence[int], keys: Sequence[str]) -> list[str]:
    """The name of each network: its group and sample, and its key if another network has both."""
    names = [f"{group} s{sample}" for group, sample in zip(groups, samples, strict=True)]
    counts = Counter(names)
    return [name if counts[name] == 1 else f"{name} {key}" for name, key in zip(names, keys, strict=True)]


def _method(run: StoredRun) -> str:
    experiment, pruner = run.values["experiment"], str(run.row["pruner"])
    if experiment == Run().experiment or pruner == DENSE or pruner in LEARNED:
        return pruner
    return f"{experiment} {pruner}"


def _variant(run: StoredRun) -> tuple[str, tuple[str, ...]]:
    settings = run.row["settings"]
    variant = variant_of(settings if isinstance(settings, str) else "")
    kind = run.row["pruning_type"]
    return str(run.row["pruner"]), variant if kind == "direct" else (f"pruning_type={kind}", *variant)


def _density(run: StoredRun) -> str:
    if run.row["pruner"] == DENSE or not run.row["target_compression"] > 1:
        return ""
    return f"{100 / run.row['target_compression']:.4g}%"
