"""Resolution of a request: its runs, each with all values decided by flags, recipe and defaults."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from Experiments.planning import validation
from Experiments.planning.validation import RECIPE_FIELDS, ignored_flags
from Models.registry import architecture, is_user_network
from Pruners.registry import canonical_name, parts, split_name
from Utils.config.choices import AUGMENTATION_NAMES, DENSE
from Utils.config.parser import Request
from Utils.config.recipes import recipe
from Utils.config.settings import Pruning, Run, Settings, Training
from Utils.data.dataset import facts
from Utils.data.registry import DATASETS, Facts
from Utils.data.streaming import VARIATIONS
from Utils.errors import UserError
from Utils.machine import usual_threads

_HELD_OUT = 10_000
"""Number of validation images in the network-pruning program."""


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
        if request.is_given("validation"):
            validation.check_validation(settings)
        resolved.append(resolve(settings.with_values(data=data_of[settings.run.architecture])))
    for name in request.values:
        if all(name in item.ignored for item in resolved):
            raise UserError(f"--{name} has no effect {resolved[0].ignored[name]}; leave it out")
    return list({item.settings.key(): item.settings for item in resolved}.values())


def resolve(settings: Settings) -> Resolved:
    """Fill in the recipe, and reset values without effect, so that equal networks have one key."""
    is_singleshot = settings.run.experiment == "singleshot"
    settings = settings.with_values(**_magnitude(settings.pruning, is_singleshot))
    if settings.options is not None:
        settings = settings.with_values(**vars(validation.canonical_options(settings.options)))
    if settings.run.experiment == "train-then-prune":
        settings = _pruned_afterwards(settings)
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
    defaults = (
        vars(Run())
        | vars(Pruning())
        | vars(Training())
        | (vars(type(settings.options)()) if settings.options is not None else {})
    )
    values |= {name: defaults.get(name) for name in unused}
    validation.check(settings, _or(values.get("iterations"), training.iterations) or 0)
    values |= _keys(settings, data_facts)
    values["threads"] = settings.machine.threads or (1 if architecture(run.architecture).is_small else usual_threads())
    if pruning.pruner == DENSE:
        values |= {"pruner": DENSE, "pruning_type": "direct", "target_sparsity": Decimal(0), "com_exp": None}
    return Resolved(settings.with_values(**values), unused)


def baseline(settings: Settings) -> Settings:
    """The run on the same architecture and data without any other flag: the defaults, for comparison."""
    run = settings.run
    # Held-out images limit the default number of examples to score: that default must not count as a difference.
    same = {
        "experiment": run.experiment, "architecture": run.architecture, "data": run.data,
        "validation": settings.training.validation,
    }  # fmt: skip
    options = None if settings.options is None else type(settings.options)()
    defaults = resolve(Settings(options=options).with_values(**same, path_to_data=run.path_to_data)).settings
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


def _magnitude(pruning: Pruning, is_singleshot: bool) -> dict[str, Any]:
    """Canonical name: `magnitude` of initial weights is `mag`, and `mag` of trained weights is `magnitude`."""
    if pruning.pruner == DENSE:
        return {}
    if not is_singleshot:
        # Pruning during training scores the current, trained weights.
        return {"pruner": canonical_name("/".join(_trained(part) for part in split_name(pruning.pruner)))}
    if pruning.pre_iterations is None:
        return {}
    renamed = {"magnitude": "mag"} if pruning.pre_iterations == 0 else {"mag": "magnitude"}
    name = canonical_name("/".join(renamed.get(part, part) for part in split_name(pruning.pruner)))
    is_needed = any(criterion.scores_trained for criterion in parts(name))
    return {"pruner": name, "pre_iterations": pruning.pre_iterations if is_needed else None}


def _pruned_afterwards(settings: Settings) -> Settings:
    """Settings of train-then-prune: a dense network, and validation images to choose the best weights by."""
    assert settings.run.data is not None
    images = facts(settings.run.data, settings.run.path_to_data).train_size
    default = min(_HELD_OUT, images // 6) if settings.options.keep_best else 0
    held_out = settings.training.validation or default
    return settings.with_values(pruner=DENSE, validation=held_out)


def _trained(name: str) -> str:
    return "magnitude" if name == "mag" else name


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
