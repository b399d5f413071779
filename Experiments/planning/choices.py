"""Valid names of a command line, from every registry. Loads no PyTorch."""

from Experiments.registry import EXPERIMENTS
from Models.registry import ARCHITECTURES, FAMILIES, architecture_names, canonical_architecture, is_user_network
from Pruners.registry import CRITERIA, QUOTAS, SCHEDULES, canonical_name, pruner_names
from Utils.config.choices import DENSE
from Utils.config.parser import ValidNames
from Utils.data.registry import DATASETS
from Utils.errors import UserError


def _architecture(name: str) -> str:
    """Canonical name of an architecture; raises `UserError` for a file without a factory."""
    if name.endswith(".py"):
        raise UserError(
            f"--architecture={name} does not name the function that makes the network; write {name}:FACTORY"
        )
    return canonical_architecture(name)


def valid_names() -> dict[str, ValidNames]:
    """The valid names of each registry, by the flag that takes them."""
    return {
        "experiment": ValidNames("experiment", list(EXPERIMENTS)),
        "architecture": ValidNames(
            "architecture",
            architecture_names(),
            _architecture,
            shown=[*ARCHITECTURES, *FAMILIES],
            is_further=is_user_network,
        ),
        "data": ValidNames("data set", list(DATASETS)),
        "pruner": ValidNames(
            "pruner",
            pruner_names(),
            canonical_name,
            shown=[DENSE, *CRITERIA, *(f"PRUNER/{quota}" for quota in QUOTAS), "PRUNER/PRUNER"],
        ),
        "schedule": ValidNames("schedule", list(SCHEDULES)),
    }
