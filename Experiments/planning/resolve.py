"""Resolution of a request: its runs, each with all values decided by flags, recipe and defaults."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from hashlib import sha256
from typing import Any

from Experiments.planning.validation import RECIPE_FIELDS, check_lr_drops, ignored_flags
from Experiments.registry import EXPERIMENTS
from Models.registry import architecture, is_user_network
from Pruners.registry import parts, revision, split_name
from Utils.config.choices import AUGMENTATION_NAMES, AUGMENTATION_REVISIONS, DENSE
from Utils.config.groups import Pruning, Run
from Utils.config.parser import Request
from Utils.config.recipes import recipe
from Utils.config.settings import Settings
from Utils.config.target import sparsity_of
from Utils.data.dataset import facts
from Utils.data.registry import DATASETS
from Utils.data.streaming import VARIATIONS
from Utils.errors import UserError
from Utils.machine import usual_threads
from Utils.results.artifacts import Need


@dataclass(frozen=True)
class Resolved:
    """A run with every value decided, and the flags that it ignores, each with the reason."""

    settings: Settings
    ignored: dict[str, str]


def resolve_all(request: Request, choose_data: Callable[[str, str | None], str]) -> list[Settings]:
    """The runs of a request, in order, without duplicates.

    `choose_data` gives the data set of an architecture and a value of `--data`, which is None if it is left out. Raises
    `UserError` for flags that exclude each other, and for a flag that all runs ignore.
    """
    resolved = []
    for values in request.product():
        name = values.get("experiment", Run().experiment)
        base = EXPERIMENTS[name].default_settings()
        others = dict.fromkeys(values.keys() - base.values().keys(), f"with --experiment={name}")
        settings = base.with_values(**{flag: value for flag, value in values.items() if flag not in others})
        settings = EXPERIMENTS[name].located(settings, request.values)
        data = choose_data(settings.run.architecture, settings.run.data)
        run = resolve(settings.with_values(data=data), request.values)
        resolved.append(Resolved(run.settings, others | run.ignored))
    for name in request.values:
        if all(name in item.ignored for item in resolved):
            raise UserError(f"--{name} has no effect {resolved[0].ignored[name]}; leave it out")
    return list({item.settings.key(): item.settings for item in resolved}.values())


def resolve(settings: Settings, given: Collection[str] = ()) -> Resolved:
    """Fill in the recipe, and reset values without effect, so that equal runs have one key.

    `given` are the flags that were typed. Raises `UserError` for flags that exclude each other.
    """
    return _Resolution(settings, given).result()


class _Resolution:
    """The values of one run: flags, then the recipe, then defaults decide."""

    def __init__(self, settings: Settings, given: Collection[str]) -> None:
        self.experiment, self.given = EXPERIMENTS[settings.run.experiment], given
        if settings.options is None:
            settings = replace(settings, options=self.experiment.default_settings().options)
        settings = self.experiment.resolve(_with_one_target(settings, given), given)
        self.fixed = self.experiment.fixed(settings)
        requested = settings.values()
        self.agreed = {name for name, value in self.fixed.items() if requested[name] == value}
        """Flags with the value that the experiment sets anyway: they may be typed."""
        self.settings = settings.with_values(**self.fixed)
        if "pruner" not in self.fixed and settings.pruning.pruner != DENSE:
            split_name(settings.pruning.pruner)  # refuses learned masks
        self.run, self.pruning, self.training = self.settings.run, self.settings.pruning, self.settings.training
        assert self.run.data is not None
        self.data = self.run.data
        self.facts = facts(self.data, self.run.path_to_data)
        self.images = self._training_images()
        self.recipe = recipe(self.run.architecture, self.data, self.images)

    def result(self) -> Resolved:
        """The resolved run."""
        schedule = _or(self.training.lr_schedule, self.recipe.lr_schedule)
        values = self._training_values(schedule)
        reasons = ignored_flags(self.settings, schedule, values)
        ignored = {name: reason for name, reason in reasons.items() if name not in self.agreed}
        values |= self._pruning_values(values.get("iterations"))
        defaults = self.experiment.default_settings().values()
        values |= {name: defaults[name] for name in ignored}
        values |= self.fixed
        if not (ignored.get("lr_drop_rate") or values["lr_drops"]):
            values["lr_drop_rate"] = self.recipe.lr_drop_rate
            ignored["lr_drop_rate"] = "without --lr_drops"
        iterations = _or(values.get("iterations"), self.training.iterations) or 0
        if "lr_drops" in self.given:  # those of a recipe may lie behind the end of a shorter training
            check_lr_drops(self.training, max(iterations, self.pruning.pre_iterations or 0))
        values |= self._keys(vars(self.pruning) | values)
        values |= {
            "mean": _or(self.run.mean, self.recipe.mean),
            "std": _or(self.run.std, self.recipe.std),
            "experiment_revision": self.experiment.revision,
            "augmentation_revision": AUGMENTATION_REVISIONS.get(values["augmentation"] or "", 0),
        }
        is_small = architecture(self.run.architecture).is_small
        values["threads"] = self.settings.machine.threads or (1 if is_small else usual_threads())
        if self.pruning.pruner == DENSE:
            values |= {"pruner": DENSE, "pruning_type": "direct", "target_sparsity": Decimal(0), "com_exp": None}
        settings = self.settings.with_values(**values)
        self.experiment.check(settings)
        return Resolved(_with_inputs_key(settings) if settings.is_study else settings, ignored)

    def _training_images(self) -> int:
        """Number of training images without held-out ones; raises `UserError` if a flag asks for more."""
        size, training = self.facts.train_size, self.training
        available = size - training.validation
        if available < 2:
            raise UserError(
                f"--validation={training.validation} must be less than the {size} training images, by two at least"
            )
        batch_size = training.batch_size or 0
        if batch_size > available:
            raise UserError(f"--batch_size={batch_size} is more than the {available} training images")
        if 1 < training.accumulate > batch_size // 2 > 0:
            parts = f"--accumulate={training.accumulate}"
            raise UserError(f"{parts} leaves less than 2 of --batch_size={batch_size} images in a part")
        examples = self.pruning.prune_examples or 0
        if examples > available:
            raise UserError(f"--prune_examples={examples} is more than the {available} training images")
        return available

    def _training_values(self, schedule: str) -> dict[str, Any]:
        """The values of the recipe, where no flag gives another one, and iterations instead of epochs."""
        training = self.training
        recipe = self.recipe
        if schedule == "cyclic" or self.experiment.has_cyclic_rates(self.settings):
            recipe = replace(recipe, lr=recipe.cyclic_lr)
        values = {name: _or(getattr(training, name), getattr(recipe, name)) for name in RECIPE_FIELDS}
        values["weight_decay_scope"] = _unless_usual(training.weight_decay_scope, recipe.weight_decay_scope, "kernels")
        values["augmentation"] = _augmentation(self.data, values["augmentation"])
        values["batch_size"] = _or(training.batch_size, min(recipe.batch_size, self.images))
        steps_per_epoch = self.images // values["batch_size"]
        if self.experiment.tests_each_epoch:
            values["evaluate_every"] = _or(training.evaluate_every, steps_per_epoch)
        if training.epochs is not None:
            if training.iterations is not None:
                raise UserError("--epochs and --iterations both set the length of training; give one of them")
            values |= {"iterations": training.epochs * steps_per_epoch, "epochs": None}
        if values["optimizer"] == "nesterov" and not values["momentum"]:
            raise UserError("--optimizer=nesterov needs a --momentum greater than 0")
        return values | {"lr_schedule": None if schedule == "step" else schedule, "warmup": training.warmup or None}

    def _pruning_values(self, iterations: int | None) -> dict[str, Any]:
        """Canonical spelling of equivalent pruning settings."""
        pruning = self.pruning
        examples = min(_or(pruning.prune_examples, self.recipe.prune_examples), self.images)
        is_training = self.recipe.scoring_mode == "training"
        values: dict[str, Any] = {
            "prune_examples": examples,
            "prune_train_mode": _unless_usual(pruning.prune_train_mode, is_training, True),
            "pruner_revision": revision(pruning.pruner),
        }
        if pruning.schedule == "one-shot":
            if (pruning.prune_iterations or 1) > 1:
                raise UserError(f"--schedule=one-shot is one round, not --prune_iterations={pruning.prune_iterations}")
            values |= {"prune_iterations": 1, "schedule": Pruning().schedule}
        rounds = values.get("prune_iterations", pruning.prune_iterations)
        if all(rounds == criterion.iterations for criterion in parts(pruning.pruner)):
            values["prune_iterations"] = None
        if pruning.pre_iterations is not None and pruning.pre_iterations == iterations:
            values["pre_iterations"] = None
        return values

    def _keys(self, values: Mapping[str, Any]) -> dict[str, str | None]:
        """Content keys of the user's files that a run reads by its resolved values; they are part of its identity."""
        from Models.user_network import source_key
        from Utils.results.state_dicts import content_key, find

        run, weights, masks = self.run, values["weights_from"], values["masks_from"]
        try:
            architecture_key = source_key(run.architecture) if is_user_network(run.architecture) else None
        except ValueError as error:
            raise UserError(str(error)) from error
        return {
            "data_key": self.facts.key,
            "architecture_key": architecture_key,
            "weights_key": content_key(find(weights, run.out_path)) if weights is not None else None,
            "masks_key": content_key(find(masks, run.out_path, "masks")) if masks is not None else None,
        }


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


def baseline(run: Run, validation: int) -> Settings:
    """The run on the same architecture and data without any other flag: the defaults, for comparison."""
    # Held-out images limit the default number of examples to score: that default must not count as a difference.
    same = {
        "experiment": run.experiment, "architecture": run.architecture, "data": run.data, "validation": validation,
    }  # fmt: skip
    unset = EXPERIMENTS[run.experiment].default_settings()
    defaults = resolve(unset.with_values(**same, path_to_data=run.path_to_data)).settings
    names = {"architecture": Settings().run.architecture, "data": architecture(run.architecture).data}
    # Content keys are written in each row: runs on other images, or of another source, are not samples of one network.
    keys: dict[str, Any] = {"data_key": None, "architecture_key": None}
    return defaults.with_values(**names, **keys, validation=Settings().training.validation)


def _with_one_target(settings: Settings, given: Collection[str]) -> Settings:
    """The target as a sparsity, or as a compression exponent, which wins; a density is 1 minus a sparsity."""
    density = settings.pruning.target_density
    if density is None:
        return settings if settings.pruning.com_exp is None else settings.with_values(target_sparsity=None)
    for other in ("target_sparsity", "com_exp"):
        if other in given:
            raise UserError(f"--target_density and --{other} both set the target; give one of them")
    return settings.with_values(target_sparsity=sparsity_of(density), target_density=None)


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _unless_usual(value: Any, default: Any, usual: Any) -> Any:
    """The value of the flag or recipe; None, which is left out of the identity, if it is usual and the recipe's."""
    decided = _or(value, default)
    return None if decided == default == usual else decided


def _augmentation(data: str, name: str | None) -> str:
    """Augmentation of the flag or recipe, by default of the data; raises `UserError` if the data cannot have it."""
    if name in VARIATIONS and not DATASETS[data].is_streamed:
        streamed = ", ".join(name for name, entry in DATASETS.items() if entry.is_streamed)
        raise UserError(
            f"--augmentation={name} needs data whose images are decoded in every pass ({streamed}), not {data}; "
            f"there are: {', '.join(other for other in AUGMENTATION_NAMES if other not in VARIATIONS)}"
        )
    return _or(name, DATASETS[data].augmentation)
