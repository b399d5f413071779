"""Valid names of a command line, from every registry. Loads no PyTorch."""

from Experiments.registry import EXPERIMENTS
from Models.registry import ARCHITECTURES, FAMILIES, architecture_names, canonical_architecture, is_user_network
from Pruners.learned import LEARNED
from Pruners.registry import CRITERIA, QUOTAS, SCHEDULES, canonical_name, pruner_names
from Utils.config.choices import DENSE, ValidNames
from Utils.data.registry import DATASETS
from Utils.errors import UserError
from Utils.figures.registry import FIGURES, FigureKind


def _architecture(name: str) -> str:
    """Canonical name of an architecture; raises `UserError` for a file without a factory."""
    if name.endswith(".py"):
        raise UserError(
            f"--architecture={name} does not name the function that makes the network; write {name}:FACTORY"
        )
    return canonical_architecture(name)


def figure_kinds() -> dict[str, FigureKind]:
    """All kinds of figures: the registered ones, and those that experiments define."""
    return FIGURES | {kind: entry for one in EXPERIMENTS.values() for kind, entry in one.own_figures.items()}


def figures_of(name: str) -> list[str]:
    """The kinds of figures of an experiment, in order: those that it lists, then its own.

    An experiment that lists none has all that no experiment lists. So do results whose experiment is not registered.
    """
    listed = {kind for experiment in EXPERIMENTS.values() for kind in experiment.figures or ()}
    unlisted = [kind for kind in FIGURES if kind not in listed]
    if name not in EXPERIMENTS:
        return unlisted
    experiment = EXPERIMENTS[name]
    return [*(unlisted if experiment.figures is None else experiment.figures), *experiment.own_figures]


def valid_names() -> dict[str, ValidNames]:
    """The valid names of each registry, by the flag that takes them."""
    return {
        "experiment": ValidNames("experiment", list(EXPERIMENTS)),
        "architecture": ValidNames(
            "architecture",
            architecture_names(),
            _architecture,
            shown=[*ARCHITECTURES, *FAMILIES],
            listed_by="python main.py --list architectures",
            is_further=is_user_network,
        ),
        "data": ValidNames("data set", list(DATASETS)),
        "pruner": ValidNames(
            "pruner",
            [*pruner_names(), *LEARNED],
            canonical_name,
            shown=[DENSE, *CRITERIA, *(f"PRUNER/{quota}" for quota in QUOTAS), "PRUNER/PRUNER"],
        ),
        "schedule": ValidNames("schedule", list(SCHEDULES)),
        "figure": ValidNames("value of --plot_type", list(figure_kinds())),
    }
