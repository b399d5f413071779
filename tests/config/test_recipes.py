"""What a recipe decides besides the length: scoring mode, normalisation, decaying parameters, rates; and revisions."""

import pytest
import torch
from commands import runs
from torch import nn

from Layers import MaskedBatchNorm2d, MaskedConv2d
from Layers.forms.dynamic import Dynamic
from Pruners import registry
from Pruners.registry import CRITERIA
from Utils.config.resolved import Recipe
from Utils.data.registry import DATASETS
from Utils.training.optimizers import make_optimizer


def resolved(line: str, data: str = "digits"):
    (settings,) = runs(*line.split(), data=data)
    return settings


@pytest.mark.parametrize("architecture", [
    "lottery/resnet20", "tinyimagenet/resnet18", "imagenet/resnet18", "fc", "conv", "union/resnet32", "gem-miner/fc",
    "gem-miner/resnet20",
])  # fmt: skip
@pytest.mark.parametrize("data", ["digits", "mnist", "cifar10", "tinyimagenet"])
def test_networks_of_synaptic_flow_and_union_mask_are_scored_in_evaluation_mode(architecture, data):
    line = f"--architecture={architecture}"
    assert resolved(line, data).pruning.prune_train_mode is False
    assert resolved(f"{line} --prune_train_mode=1", data).pruning.prune_train_mode is True
    assert (
        len({resolved(f"{line} {flag}", data).key() for flag in ("", "--prune_train_mode", "--prune_train_mode=0")})
        == 2
    )


@pytest.mark.parametrize("architecture", ["lenet300100", "lenet5", "vgg19", "resnet18", "mlp"])
@pytest.mark.parametrize("data", ["digits", "mnist", "cifar100"])
def test_other_networks_are_scored_in_training_mode(architecture, data):
    line = f"--architecture={architecture}"
    assert resolved(line, data).pruning.prune_train_mode is None
    assert resolved(line, data).key() == resolved(f"{line} --prune_train_mode=1", data).key()
    assert resolved(f"{line} --prune_train_mode=0", data).pruning.prune_train_mode is False


@pytest.mark.parametrize(
    ("architecture", "data", "mean", "std"),
    [
        ("union/resnet32", "cifar10", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        ("union/resnet32", "cifar100", (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
        ("lottery/vgg16-bn", "cifar100", (0.507, 0.487, 0.441), (0.267, 0.256, 0.276)),
        ("tinyimagenet/resnet18", "tinyimagenet", (0.480, 0.448, 0.397), (0.276, 0.269, 0.282)),
        ("mlp", "mnist", (0.0,), (1.0,)),
        ("gem-miner/resnet20", "cifar10", (0.491, 0.482, 0.447), (0.247, 0.243, 0.262)),
        ("gem-miner/resnet20", "cifar100", None, None),
        ("vgg19", "cifar100", None, None),
        ("lottery/vgg16-bn", "digits", None, None),
    ],
)
def test_normalisation_is_that_of_the_source(architecture, data, mean, std):
    spec = resolved(f"--architecture={architecture}", data).data_spec
    assert (spec.mean, spec.std) == (mean, std)
    typed = resolved(f"--architecture={architecture} --mean=0.5 --std=0.25", data).data_spec
    assert (typed.mean, typed.std) == ((0.5,), (0.25,))


def test_the_scope_of_weight_decay_is_that_of_the_source():
    scopes = {
        (architecture, data): resolved(f"--architecture={architecture}", data).recipe.weight_decay_scope
        for architecture, data in (
            ("union/resnet32", "cifar10"), ("lottery/resnet20", "cifar10"), ("imagenet/resnet18", "cifar10"),
            ("vgg16", "cifar10"), ("union/resnet32", "digits"),
        )
    }  # fmt: skip
    assert list(scopes.values()) == ["all", "all", "kernels", "kernels", "kernels"]
    assert resolved(
        "--architecture=union/resnet32 --weight_decay_scope=kernels", "cifar10"
    ).recipe.weight_decay_scope == ("kernels")
    assert (
        resolved("--weight_decay_scope=kernels").key()
        == resolved("").key()
        != resolved("--weight_decay_scope=all").key()
    )


@pytest.mark.parametrize(("scope", "decay"), [("kernels", 0.0), ("all", 0.1)])
def test_parameters_in_the_scope_decay(scope, decay):
    """A step without any gradient but the decay's multiplies by 1 - lr * decay."""
    model = nn.Sequential(MaskedConv2d(1, 2, 3), MaskedBatchNorm2d(2))
    for parameter in model.parameters():
        nn.init.ones_(parameter)
        parameter.grad = torch.zeros_like(parameter)
    form = Dynamic()
    with form.holding(model):
        recipe = Recipe(optimizer="sgd", lr=0.5, weight_decay=0.1, weight_decay_scope=scope)
        make_optimizer(form.parameters(), recipe).step()
    others = {name: parameter for name, parameter in model.named_parameters() if name != "0.weight"}
    torch.testing.assert_close(model[0].weight, torch.full((2, 1, 3, 3), 0.95))
    assert len(others) == 3
    for parameter in others.values():
        torch.testing.assert_close(parameter, torch.full((2,), 1 - 0.5 * decay))


def test_cycles_of_rates_peak_where_the_source_says():
    """Published: plain ramps start at 0.05, cycles rise to 0.1."""
    union = "--architecture=union/resnet32 --experiment=union-mask"
    rates = {
        arm: resolved(f"{union} --arm={arm}", "cifar10").recipe.lr for arm in ("union", "vanilla-cyclic", "vanilla")
    }
    assert rates == {"union": 0.1, "vanilla-cyclic": 0.1, "vanilla": 0.05}
    assert resolved("--architecture=union/resnet32 --lr_schedule=cyclic", "cifar10").recipe.lr == 0.1
    assert resolved(f"{union} --lr=0.3", "cifar10").recipe.lr == 0.3


@pytest.mark.parametrize(("line", "epochs", "batches", "expected"), [
    ("gem-miner/fc mnist", 25, 468, (0.1, 5e-4, "none", 100)),
    ("gem-miner/fc fashion-mnist", 25, 468, (0.1, 5e-4, "none", 100)),
    ("gem-miner/resnet20 cifar10", 150, 390, (0.05, 0.0, "crop-flip", 100)),
    ("gem-miner/resnet20 cifar100", 150, 390, (0.05, 0.0, "crop-flip", 1000)),
])  # fmt: skip
def test_searches_of_gem_miner_train_as_in_the_sparse_network_analysis_program(line, epochs, batches, expected):
    architecture, data = line.split()
    settings = resolved(f"--architecture={architecture}", data)
    recipe, examples = settings.recipe, settings.pruning.prune_examples
    assert (recipe.lr, recipe.weight_decay, settings.training.augmentation, examples) == expected
    assert (recipe.optimizer, recipe.momentum) == ("momentum", 0.9)
    assert (recipe.lr_schedule, recipe.batch_size) == ("cosine", 128)
    assert (recipe.iterations, recipe.evaluate_every) == (epochs * batches, batches)
    assert recipe.weight_decay_scope == "kernels"


def test_the_constants_of_mnist_are_those_of_the_sparse_network_analysis_program():
    """No constants in the recipe, so that runs of all networks share the images."""
    spec = resolved("--architecture=gem-miner/fc", "mnist").data_spec
    assert (spec.mean, spec.std) == (None, None)
    assert (DATASETS["mnist"].mean, DATASETS["mnist"].std) == ((0.1307,), (0.3081,))


@pytest.mark.parametrize("name", ["gem-miner/fc", "gem-miner/resnet20"])
def test_gem_miner_on_digits_is_short_and_on_other_data_as_common(name):
    for data in ("digits", "tinyimagenet"):
        assert resolved(f"--architecture={name}", data).recipe == resolved("--architecture=fc", data).recipe
    assert resolved(f"--architecture={name}").recipe.iterations == 1500


def test_rates_of_the_effective_sparsity_program_drop_after_their_boundaries():
    """Keras' `PiecewiseConstantDecay` has the first value at the boundary itself."""
    assert resolved("", "mnist").recipe.lr_drops == (25001, 50001, 75001)


def test_a_revision_is_part_of_the_identity(monkeypatch):
    assert "pruner_revision" not in resolved("--pruner=snip").identity()
    for name, revision in (("synflow", "synflow-1"), ("random/synflow", "synflow-1"), ("magnitude", None)):
        assert resolved(f"--pruner={name}").pruning.pruner_revision == registry.revision(name) == revision
    before = resolved("--pruner=snip").key()
    monkeypatch.setitem(CRITERIA, "snip", CRITERIA["snip"]._replace(revision=2))
    after = resolved("--pruner=snip")
    assert after.key() != before and after.identity()["pruner_revision"] == "snip-2"
    assert resolved("--pruner=synflow/snip").pruning.pruner_revision == "synflow-1,snip-2"


def test_revised_augmentations_and_experiments_are_part_of_the_identity():
    line = "--architecture=lottery/resnet20"
    assert resolved(line, "cifar10").identity()["augmentation_revision"] == 1
    assert "augmentation_revision" not in resolved(f"{line} --augmentation=none", "cifar10").identity()
    assert "augmentation_revision" not in resolved(f"{line} --train=0", "cifar10").identity()
    assert resolved("--experiment=dynamic").identity()["experiment_revision"] == 1
    assert "experiment_revision" not in resolved("").identity()
