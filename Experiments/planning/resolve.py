"""Resolution of a request: its runs, each with all values decided by flags, recipe and defaults."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from decimal import Decimal
from hashlib import sha256
from typing import Any

from Experiments.planning.validation import RECIPE_FIELDS, check_lr_drops, ignored_flags
from Experiments.registry import EXPERIMENTS
from Models.registry import architecture, is_user_network
from Pruners.registry import parts
from Utils.config.choices import AUGMENTATION_NAMES, DENSE
from Utils.config.parser import Request
from Utils.config.recipes import recipe
from Utils.config.settings import Pruning, Settings
from Utils.data.dataset import facts
from Utils.data.registry import DATASETS, Facts
from Utils.data.streaming import VARIATIONS
from Utils.errors import UserError
from Utils.machine import usual_threads
from Utils.results.artifacts import Need


@dataclass(frozen=True)
class Resolved:
    """A run with every value decided, and the flags that it ignores, each with the reason."""

    settings: Settings
    ignored: dict[str, str]


def resolve_all(base: Settings, request: Request, data_of: dict[str, str]) -> list[Settings]:
    """The runs of a request, in order, without duplicates.

    `data_of` gives the data set of each architecture. Raises `UserError` for flags that exclude each other, and for a
    flag that all runs ignore.
    """
    resolved = []
    for values in request.product():
        settings = base.with_values(**values)
        if request.is_given("com_exp"):
            settings = settings.with_values(target_sparsity=None)
        resolved.append(resolve(settings.with_values(data=data_of[settings.run.architecture]), request.values))
    for name in request.values:
        if all(name in item.ignored for item in resolved):
            raise UserError(f"--{name} has no effect {resolved[0].ignored[name]}; leave it out")
    return list({item.settings.key(): item.settings for item in resolved}.values())


def resolve(settings: Settings, given: Collection[str] = ()) -> Resolved:
    """Fill in the recipe, and reset values without effect, so that equal runs have one key.

    `given` are the flags that were typed. Raises `UserError` for flags that exclude each other.
    """
    experiment = EXPERIMENTS[settings.run.experiment]
    settings = experiment.resolve(settings, given)
    run, pruning, training = settings.run, settings.pruning, settings.training
    assert run.data is not None
    data_facts = facts(run.data, run.path_to_data)
    images = _training_images(settings, data_facts)
    published = recipe(run.architecture, run.data, images)
    values = {name: _or(getattr(training, name), getattr(published, name)) for name in RECIPE_FIELDS}
    values["augmentation"] = _augmentation(run.data, values["augmentation"])
    values["batch_size"] = _or(training.batch_size, min(published.batch_size, images))
    values |= _iterations(settings, images // values["batch_size"])
    schedule = _or(training.lr_schedule, published.lr_schedule)
    values |= {"lr_schedule": None if schedule == "step" else schedule, "warmup": training.warmup or None}
    unused = ignored_flags(settings, values["optimizer"], schedule)
    if values["optimizer"] == "nesterov" and not values["momentum"]:
        raise UserError("--optimizer=nesterov needs a --momentum greater than 0")
    values["prune_examples"] = min(_or(pruning.prune_examples, published.prune_examples), images)
    values |= _pruning_values(settings, values.get("iterations"))
    defaults = experiment.default_settings().values()
    values |= {name: defaults[name] for name in unused}
    check_lr_drops(settings, _or(values.get("iterations"), training.iterations) or 0)
    values |= _keys(settings, data_facts)
    values["threads"] = settings.machine.threads or (1 if architecture(run.architecture).is_small else usual_threads())
    if pruning.pruner == DENSE:
        values |= {"pruner": DENSE, "pruning_type": "direct", "target_sparsity": Decimal(0), "com_exp": None}
    settings = settings.with_values(**values)
    experiment.check(settings)
    return Resolved(_with_inputs_key(settings) if settings.is_study else settings, unused)


def _with_inputs_key(study: Settings) -> Settings:
    """A study that is named by the runs that it reads, too."""
    keys = sorted(need.settings.key() for need in needs_of(study))
    return study.with_values(inputs_key=sha256("\n".join(keys).encode()).hexdigest()[:10])


def needs_of(settings: Settings) -> list[Need]:
    """What a resolved run needs of other runs, which are resolved."""
    name = settings.run.experiment
    return [
        need if need.settings.run.experiment == name else replace(need, settings=resolve(need.settings).settings)
        for need in EXPERIMENTS[name].needs(settings)
    ]


def baseline(settings: Settings) -> Settings:
    """The run on the same architecture and data without any other flag: the defaults, for comparison."""
    run = settings.run
    # Held-out images limit the default number of examples to score: that default must not count as a difference.
    same = {
        "experiment": run.experiment, "architecture": run.architecture, "data": run.data,
        "validation": settings.training.validation,
    }  # fmt: skip
    unset = EXPERIMENTS[run.experiment].default_settings()
    defaults = resolve(unset.with_values(**same, path_to_data=run.path_to_data)).settings
    names = {"architecture": Settings().run.architecture, "data": architecture(run.architecture).data}
    # Content keys are written in each row: runs on other images, or of another source, are not samples of one network.
    keys: dict[str, Any] = {"data_key": None, "architecture_key": None}
    return defaults.with_values(**names, **keys, validation=Settings().training.validation)


def _keys(settings: Settings, data_facts: Facts) -> dict[str, str | None]:
    """Content keys of the user's files, which are part of a run's identity."""
    from Models.user_network import source_key
    from Utils.results.state_dicts import content_key, find

    run, weights, masks = settings.run, settings.pruning.weights_from, settings.pruning.masks_from
    try:
        architecture_key = source_key(run.architecture) if is_user_network(run.architecture) else None
    except ValueError as error:
        raise UserError(str(error)) from error
    weights_key = content_key(find(weights, run.out_path)) if weights is not None else None
    masks_key = content_key(find(masks, run.out_path, "masks")) if masks is not None else None
    return {
        "data_key": data_facts.key,
        "architecture_key": architecture_key,
        "weights_key": weights_key,
        "masks_key": masks_key,
    }


def _pruning_values(settings: Settings, iterations: int | None) -> dict[str, Any]:
    """Canonical spelling of equivalent pruning settings."""
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


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _augmentation(data: str, name: str | None) -> str:
    """Augmentation of the flag or recipe, by default of the data; raises `UserError` if the data cannot have it."""
    if name in VARIATIONS and not DATASETS[data].is_streamed:
        streamed = ", ".join(name for name, entry in DATASETS.items() if entry.is_streamed)
        raise UserError(
            f"--augmentation={name} needs data whose images are decoded in every pass ({streamed}), not {data}; "
            f"there are: {', '.join(other for other in AUGMENTATION_NAMES if other not in VARIATIONS)}"
        )
    return _or(name, DATASETS[data].augmentation)


def _training_images(settings: Settings, data_facts: Facts) -> int:
    """Number of training images without held-out ones; raises `UserError` if a flag asks for more."""
    size, held_out = data_facts.train_size, settings.training.validation
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
    """Iterations instead of epochs."""
    training = settings.training
    if training.epochs is None:
        return {}
    if training.iterations is not None:
        raise UserError("--epochs and --iterations both set the length of training; give one of them")
    return {"iterations": training.epochs * steps_per_epoch, "epochs": None}
