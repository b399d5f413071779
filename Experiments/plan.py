"""Which runs does a request stand for, with every value decided?"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from Experiments.trained import is_trained_first
from Models import IMAGENET, architecture, is_own
from Pruners import Criterion, canonical_name, parts, split_name
from Utils import DATASETS, Facts
from Utils.data import facts
from Utils.errors import UserError
from Utils.flags import Request
from Utils.recipes import recipe
from Utils.settings import AUGMENTATION_NAMES, DENSE, Pruning, Run, Settings
from Utils.streaming import VARIATIONS

_RECIPE_FIELDS = (
    "iterations", "optimizer", "lr", "lr_drops", "lr_drop_rate", "momentum", "weight_decay", "augmentation",
    "evaluate_every",
)  # fmt: skip


@dataclass(frozen=True)
class Resolved:
    """A run with every value decided, and the flags that it makes no use of, each with the reason."""

    settings: Settings
    unused: dict[str, str]


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
            raise UserError(f"--{name} has no effect {resolved[0].unused[name]}; leave it out")
    return list({item.settings.key(): item.settings for item in resolved}.values())


def resolve(settings: Settings) -> Resolved:
    """Fill in what the recipe decides, and take out what has no effect, so that equal networks have one name."""
    settings = settings.with_values(**_magnitude(settings.pruning))
    run, pruning, training = settings.run, settings.pruning, settings.training
    assert run.data is not None
    found = facts(run.data, run.path_to_data)
    rules = recipe(run.architecture, run.data, found.train_size)
    values = {name: _or(getattr(training, name), getattr(rules, name)) for name in _RECIPE_FIELDS}
    values["augmentation"] = _augmentation(run.data, values["augmentation"])
    images = _training_images(settings, found)
    values["batch_size"] = _or(training.batch_size, min(rules.batch_size, images))
    values |= _iterations(settings, images // values["batch_size"])
    schedule = _or(training.lr_schedule, rules.lr_schedule)
    values |= {"lr_schedule": None if schedule == "step" else schedule, "warmup": training.warmup or None}
    unused = _unused_flags(settings, values["optimizer"], schedule)
    if values["optimizer"] == "nesterov" and not values["momentum"]:
        raise UserError("--optimizer=nesterov needs a --momentum greater than 0")
    values["prune_examples"] = min(_or(pruning.prune_examples, rules.prune_examples), images)
    values |= _pruning_values(settings, values.get("iterations"))
    defaults = vars(Run()) | vars(Pruning())
    values |= {name: defaults.get(name) for name in unused}
    values |= _keys(settings, found)
    if pruning.pruner == DENSE:
        values |= {"pruning_type": "direct", "target_sparsity": Decimal(0), "com_exp": None}
    return Resolved(settings.with_values(**values), unused)


def usual(settings: Settings) -> Settings:
    """What would run on the same architecture and data without any other flag, to tell what is unusual."""
    run = settings.run
    # What is held out decides how many examples there are to score with: that alone is nothing unusual.
    same = {"architecture": run.architecture, "data": run.data, "validation": settings.training.validation}
    plain = resolve(Settings().with_values(**same, path_to_data=run.path_to_data)).settings
    own = {"architecture": Settings().run.architecture, "data": architecture(run.architecture).data}
    # What stands for content is named in each row: networks on other images, or of another source, are no samples.
    keys: dict[str, Any] = {"data_key": None, "architecture_key": None}
    return plain.with_values(**own, **keys, validation=Settings().training.validation)


def _keys(settings: Settings, found: Facts) -> dict[str, str | None]:
    """What stands for content of the user's own in a run's identity."""
    from Models.own import source_key
    from Utils.checkpoints import content_key, find

    run, source = settings.run, settings.pruning.weights_from
    try:
        architecture_key = source_key(run.architecture) if is_own(run.architecture) else None
    except ValueError as error:
        raise UserError(str(error)) from error
    weights_key = content_key(find(source, run.out_path)) if source is not None else None
    masks = settings.pruning.masks_from
    masks_key = content_key(find(masks, run.out_path, "masks")) if masks is not None else None
    return {
        "data_key": found.key,
        "architecture_key": architecture_key,
        "weights_key": weights_key,
        "masks_key": masks_key,
    }


def _pruning_values(settings: Settings, iterations: int | None) -> dict[str, Any]:
    """One spelling for settings that mean the same."""
    pruning = settings.pruning
    criteria = parts(pruning.pruner)
    values: dict[str, Any] = {}
    if pruning.schedule == "one-shot":
        if (pruning.prune_iterations or 1) > 1:
            raise UserError(f"--schedule=one-shot is one round, not --prune_iterations={pruning.prune_iterations}")
        values |= {"prune_iterations": 1, "schedule": Pruning().schedule}
    rounds = values.get("prune_iterations", pruning.prune_iterations)
    if all(rounds == criterion.iterations for criterion in criteria):
        values["prune_iterations"] = None
    if pruning.pre_iterations is not None and pruning.pre_iterations == iterations:
        values["pre_iterations"] = None
    return values


def _magnitude(pruning: Pruning) -> dict[str, Any]:
    """`magnitude` of initial weights goes by the name `mag`, and `mag` of trained ones by `magnitude`."""
    if pruning.pruner == DENSE or pruning.pre_iterations is None:
        return {}
    renamed = {"magnitude": "mag"} if pruning.pre_iterations == 0 else {"mag": "magnitude"}
    name = canonical_name("/".join(renamed.get(part, part) for part in split_name(pruning.pruner)))
    is_needed = any(criterion.scores_trained for criterion in parts(name))
    return {"pruner": name, "pre_iterations": pruning.pre_iterations if is_needed else None}


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _augmentation(data: str, name: str | None) -> str:
    """What a recipe or the user says, else what the data set has; raises `UserError` for what it cannot have."""
    if name in VARIATIONS and not DATASETS[data].is_streamed:
        streamed = ", ".join(name for name, entry in DATASETS.items() if entry.is_streamed)
        raise UserError(
            f"--augmentation={name} needs whole images, decoded in every pass, as {streamed} has them, not {data}; "
            f"there are: {', '.join(other for other in AUGMENTATION_NAMES if other not in VARIATIONS)}"
        )
    return _or(name, DATASETS[data].augmentation)


def _training_images(settings: Settings, found: Facts) -> int:
    """How many training images are left; raises `UserError` if they fill no batch."""
    size, held_out = found.train_size, settings.training.validation
    if held_out > size - 2:
        raise UserError(f"--validation={held_out} must be less than the {size} training images, by two at least")
    batch_size = settings.training.batch_size or 0
    if batch_size > size - held_out:
        raise UserError(f"--batch_size={batch_size} is more than the {size - held_out} training images")
    if 1 < settings.training.accumulate > batch_size // 2 > 0:
        parts = f"--accumulate={settings.training.accumulate}"
        raise UserError(f"{parts} leaves less than 2 of --batch_size={batch_size} images in a part")
    examples = settings.pruning.prune_examples or 0
    if examples > size - held_out:
        raise UserError(f"--prune_examples={examples} is more than the {size - held_out} training images")
    return size - held_out


def _iterations(settings: Settings, steps_per_epoch: int) -> dict[str, int | None]:
    training = settings.training
    if training.epochs is None:
        return {}
    if training.iterations is not None:
        raise UserError("--epochs and --iterations say the same; give one of them")
    return {"iterations": training.epochs * steps_per_epoch, "epochs": None}


def _unused_flags(settings: Settings, optimizer: str, schedule: str) -> dict[str, str]:
    pruning, training = settings.pruning, settings.training
    criteria = parts(pruning.pruner)
    needs_batches = any(criterion.needs_batches for criterion in criteria)
    unused = _unused_in_pruning(pruning, criteria)
    if not settings.run.architecture.startswith(IMAGENET):
        unused["pretrained"] = f"on {settings.run.architecture}, which torchvision has no weights of"
    elif pruning.weights_from is not None:
        unused["pretrained"] = "with --weights_from"
    if not any(criterion.needs_trained for criterion in criteria):
        unused["pre_iterations"] = f"on pruner {pruning.pruner}, which scores no trained weights"
    elif pruning.weights_from is not None:
        unused["pre_iterations"] = "with --weights_from, whose weights are scored"
    if not training.train and not is_trained_first(pruning):
        unused |= dict.fromkeys(
            (*_RECIPE_FIELDS, "epochs", "accumulate", "lr_schedule", "lr_cycle", "warmup"), "with --train=0"
        )
        if not needs_batches and training.batchnorm == "running":
            unused["batch_size"] = "with --train=0"
        return unused
    if optimizer not in ("momentum", "nesterov"):
        unused["momentum"] = f"with --optimizer={optimizer}"
    if schedule != "step":
        unused |= dict.fromkeys(("lr_drops", "lr_drop_rate"), f"with --lr_schedule={schedule}")
    if schedule != "cyclic":
        unused["lr_cycle"] = f"with --lr_schedule={schedule}"
    return unused


def _unused_in_pruning(pruning: Pruning, criteria: list[Criterion]) -> dict[str, str]:
    unused = {}
    if pruning.shuffle:
        unused["keep_alive"] = "with --shuffle, which permutes what is kept alive"
    if not any(criterion.needs_batches for criterion in criteria):
        reason = f"on pruner {pruning.pruner}, which scores no examples"
        unused |= {"prune_examples": reason, "prune_train_mode": reason}
    if not criteria or (pruning.pruning_type == "direct" and not pruning.keep_alive):
        unused["effective_type"] = "without pruning to an effective target"
    if not criteria:
        nothing = f"on pruner {DENSE}, which prunes nothing"
        unused |= dict.fromkeys(("prune_iterations", "schedule", "keep_alive", "invert"), nothing)
        if pruning.masks_from is None:
            unused |= dict.fromkeys(("shuffle", "reinitialize"), f"{nothing}, without --masks_from")
    elif pruning.schedule != "one-shot" and max(pruning.prune_iterations or one.iterations for one in criteria) == 1:
        unused["schedule"] = f"on pruner {pruning.pruner}, which prunes in one round (--prune_iterations)"
    return unused
