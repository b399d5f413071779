"""Resolved runs: products of lists, recipes, and units of length."""

from dataclasses import dataclass

import pytest
from commands import runs

from Experiments.base import Experiment
from Experiments.planning.resolve import resolve
from Experiments.registry import EXPERIMENTS
from Models.registry import ARCHITECTURES
from Utils.config.fields import setting
from Utils.config.parser import parse
from Utils.config.recipes import lines, recipe
from Utils.config.settings import Settings
from Utils.data.registry import DATASETS
from Utils.training.lr_schedules import learning_rate


def test_products():
    plans = runs("--pruner=dense,snip,random", "--target_sparsity=0.9,0.99", "--sample=0,1", "--pruning_type=direct")
    assert len(plans) == 2 + 2 * 2 * 2
    assert sum(settings.pruning.pruner == "dense" for settings in plans) == 2


def test_com_exp_wins():
    (settings,) = runs("--com_exp=2", "--target_sparsity=0.5")
    assert settings.pruning.target_sparsity is None and settings.pruning.com_exp == 2


def test_a_flag_that_some_run_uses_is_fine():
    assert len(runs("--pruner=random,snip", "--prune_examples=5")) == 2
    assert len(runs("--pruning_type=direct,effective", "--effective_type=graph")) == 2
    (magnitude,) = runs("--pruner=magnitude", "--train=0", "--lr=0.2")  # the dense run that it scores is trained
    assert magnitude.training.lr == 0.2


def test_epochs_count_whole_batches_of_what_is_not_held_out():
    (settings,) = runs("--epochs=3", "--validation=37", "--batch_size=100")
    assert settings.training.iterations == 3 * 14 and settings.training.epochs is None


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "imagenet/resnet18"])
@pytest.mark.parametrize("data", [name for name, entry in DATASETS.items() if entry.facts is not None])
def test_every_recipe_resolves(architecture, data):
    settings = resolve(Settings().with_values(architecture=architecture, data=data)).settings
    training = settings.training
    assert None not in (training.lr, training.iterations, training.batch_size, training.augmentation)
    assert all(drop < training.iterations for drop in training.lr_drops or ())
    assert learning_rate(settings.recipe, training.iterations - 1) >= 0
    assert data != "digits" or training.iterations <= 3000


@pytest.mark.parametrize(("architecture", "data", "expected"), [
    ("lenet300100", "mnist", (0.1, 100, 96_000, (25_001, 50_001, 75_001), 1e-3, 30_000, "momentum", None)),
    ("lenet5", "cifar10", (0.1, 128, 120_000, (30_001, 60_001, 90_001), 1e-3, 38_400, "momentum", None)),
    ("vgg16", "cifar10", (0.1, 128, 62_500, (31_251, 46_876), 2e-4, 38_400, "momentum", None)),
    ("vgg19", "cifar100", (0.1, 128, 62_500, (31_251, 46_876), 2e-4, 50_000, "momentum", None)),
    ("lottery/vgg16-bn", "cifar100", (0.1, 128, 62_400, (23_400, 46_800), 1e-4, 1_000, "nesterov", None)),
    ("tinyimagenet/resnet18", "cifar10", (0.01, 128, 62_400, (23_400, 46_800), 5e-4, 100, "nesterov", None)),
    ("union/resnet32", "cifar100", (0.05, 128, 78_000, None, 5e-4, 128, "nesterov", "swa")),
    ("mlp", "mnist", (0.001, 128, 9_360, None, 0.0, 12_800, "adam", "constant")),
    ("imagenet/resnet18", "cifar10", (0.05, 128, 39_000, (19_500, 29_250), 5e-4, 12_800, "momentum", None)),
])  # fmt: skip
def test_recipes_of_the_papers(architecture, data, expected):
    settings = resolve(Settings().with_values(architecture=architecture, data=data)).settings
    t = settings.training
    found = (t.lr, t.batch_size, t.iterations, t.lr_drops, t.weight_decay, settings.pruning.prune_examples)
    assert (*found, t.optimizer, t.lr_schedule) == expected
    assert t.momentum == (None if t.optimizer == "adam" else 0.9)


def test_the_first_line_of_the_table_that_fits_counts():
    assert recipe("lenet5", "digits", 1437).source == "short" and lines()[-1]["architecture"] == "*"
    assert recipe("lenet5", "imagefolder", 1000).source == "common values, 100 epochs"
    assert recipe("anything", "imagefolder", 10).iterations == 100


class Toy(Experiment):
    """An experiment that tests each epoch, and has a pruner and a schedule of its own."""

    name = "toy"
    tests_each_epoch = True

    def fixed(self, settings):
        return {"pruner": "random" if settings.run.sample else "synflow", "schedule": "linear", "validation": 37}

    def ignored(self, settings, lr_schedule) -> dict[str, str]:
        return dict.fromkeys(("pruner", "schedule", "validation"), "with --experiment=toy")


def resolved(monkeypatch, **values):
    """The resolved run of the toy experiment with values of flags."""
    monkeypatch.setitem(EXPERIMENTS, "toy", Toy())
    return resolve(EXPERIMENTS["toy"].default_settings().with_values(data="digits", **values))


def test_what_an_experiment_fixes_decides_all_else(monkeypatch):
    run = resolved(monkeypatch, pruner="snip", schedule="one-shot", validation=5, prune_examples=9)
    pruning = run.settings.pruning
    assert (pruning.pruner, pruning.schedule, run.settings.training.validation) == ("synflow", "linear", 37)
    assert pruning.pruner_revision == "synflow-1"
    assert run.ignored.keys() >= {"pruner", "schedule", "validation", "prune_examples"}
    assert run.settings.key() == resolved(monkeypatch).settings.key()
    assert resolve(run.settings).settings == run.settings
    assert resolved(monkeypatch, sample=1).settings.pruning.pruner == "random"


@pytest.mark.parametrize(("values", "every"), [
    ({}, 21), ({"batch_size": 100}, 14), ({"batch_size": 1_400}, 1), ({"epochs": 3}, 21), ({"evaluate_every": 6}, 6),
    ({"train": False}, None),
])  # fmt: skip
def test_an_experiment_that_tests_each_epoch(monkeypatch, values, every):
    run = resolved(monkeypatch, **values).settings
    assert run.training.evaluate_every == every
    assert "epochs" not in values or run.training.iterations == 3 * 21
    usual = resolve(Settings().with_values(data="digits")).settings
    assert usual.training.evaluate_every != 21


def test_own_settings_of_an_experiment_become_flags():
    @dataclass(frozen=True)
    class Options:
        """Of an experiment."""

        levels: int = setting(1, "how often", kind=int)

    request = parse(["--levels=3"], [Options], {}, "test", "")
    assert request.values == {"levels": [3]} and request.product() == [{"levels": 3}]
