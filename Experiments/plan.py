"""Which runs does a request stand for, with every value decided?"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from Models import ARCHITECTURES
from Pruners import CRITERIA, split_name
from Utils import DATASETS
from Utils.errors import UserError
from Utils.flags import Request
from Utils.recipes import Recipe, recipe
from Utils.settings import DENSE, Settings

_RECIPE_FIELDS = (
    "iterations", "optimizer", "lr", "lr_drops", "lr_drop_rate", "momentum", "weight_decay", "augmentation",
    "evaluate_every",
)  # fmt: skip


@dataclass(frozen=True)
class Resolved:
    """A run with every value decided, and the flags that it makes no use of."""

    settings: Settings
    unused: frozenset[str]


def plan(base: Settings, request: Request, data_of: dict[str, str]) -> list[Settings]:
    """The runs of a request, in order, each once.

    `data_of` gives the data set of each architecture. Raises `UserError` for flags that exclude each other, and for
    one that no run makes use of.
    """
    resolved = []
    for values in request.product():
        settings = base.with_values(**values)
        if request.is_given("com_exp"):
            settings = settings.with_values(target_sparsity=None)
        resolved.append(resolve(settings.with_values(data=data_of[settings.run.architecture])))
    for name in request.values:
        if all(name in item.unused for item in resolved):
            pruners = ", ".join(sorted({item.settings.pruning.pruner for item in resolved}))
            raise UserError(f"--{name} has no effect here (pruner {pruners}); leave it out or see --help")
    return list({item.settings.key(): item.settings for item in resolved}.values())


def resolve(settings: Settings) -> Resolved:
    """Fill in what the recipe decides, and take out what has no effect, so that equal networks have one name."""
    run, pruning, training = settings.run, settings.pruning, settings.training
    assert run.data is not None
    rules = recipe(run.architecture, run.data)
    values = {name: _or(getattr(training, name), getattr(rules, name)) for name in (*_RECIPE_FIELDS, "batch_size")}
    values["augmentation"] = _or(values["augmentation"], DATASETS[run.data].augmentation)
    values |= _iterations(settings, rules, values["batch_size"])
    unused = _unused_flags(settings, values["optimizer"])
    values |= dict.fromkeys(unused & {*_RECIPE_FIELDS, "epochs"})
    values["prune_examples"] = None
    if "prune_examples" not in unused:
        available = DATASETS[run.data].train_size - training.validation
        values["prune_examples"] = min(_or(pruning.prune_examples, rules.prune_examples), available)
    if pruning.pruner == DENSE:
        values |= {"pruning_type": "direct", "target_sparsity": Decimal(0), "com_exp": None}
    if "effective_type" in unused:
        values["effective_type"] = "exact"
    return Resolved(settings.with_values(**values), frozenset(unused))


def usual(settings: Settings) -> Settings:
    """What would run on the same architecture and data without any other flag, to tell what is unusual."""
    run = settings.run
    plain = resolve(Settings().with_values(architecture=run.architecture, data=run.data)).settings
    default = Settings().run.architecture
    return plain.with_values(architecture=default, data=ARCHITECTURES[run.architecture].data)


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _iterations(settings: Settings, rules: Recipe, batch_size: int) -> dict[str, int | None]:
    training = settings.training
    if training.epochs is None:
        return {}
    if training.iterations is not None:
        raise UserError("--epochs and --iterations say the same; give one of them")
    images = DATASETS[settings.run.data or ""].train_size - training.validation
    return {"iterations": training.epochs * (images // batch_size), "epochs": None}


def _unused_flags(settings: Settings, optimizer: str) -> set[str]:
    pruning, training = settings.pruning, settings.training
    criterion = None if pruning.pruner == DENSE else CRITERIA[split_name(pruning.pruner)[0]]
    unused = set()
    if criterion is None or not criterion.needs_batches:
        unused.add("prune_examples")
    if criterion is None or pruning.pruning_type == "direct":
        unused.add("effective_type")
    if not training.train and not (criterion and criterion.needs_trained):
        unused |= {*_RECIPE_FIELDS, "epochs"}
    elif optimizer not in ("momentum", "nesterov"):
        unused.add("momentum")
    return unused
