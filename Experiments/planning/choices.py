"""Which names may a command line use?"""

from Experiments.registry import EXPERIMENTS
from Models.registry import ARCHITECTURES, FAMILIES, architecture_names, canonical_architecture, is_own
from Pruners.registry import CRITERIA, QUOTAS, SCHEDULES, canonical_name, pruner_names
from Utils.config.choices import DENSE
from Utils.config.parser import Names
from Utils.data.registry import DATASETS
from Utils.errors import UserError


def _architecture(name: str) -> str:
    if name.endswith(".py"):
        raise UserError(f"--architecture={name} does not say what makes the network; write {name}:FACTORY")
    return canonical_architecture(name)


def registry_names() -> dict[str, Names]:
    """The valid names of every registry, by the word that settings use for it; loads no PyTorch."""
    return {
        "experiment": Names("experiment", list(EXPERIMENTS)),
        "architecture": Names(
            "architecture",
            architecture_names(),
            _architecture,
            shown=[*ARCHITECTURES, *FAMILIES],
            is_further=is_own,
        ),
        "data": Names("data set", list(DATASETS)),
        "pruner": Names(
            "pruner",
            pruner_names(),
            canonical_name,
            shown=[DENSE, *CRITERIA, *(f"PRUNER/{quota}" for quota in QUOTAS), "PRUNER/PRUNER"],
        ),
        "schedule": Names("schedule", list(SCHEDULES)),
    }
