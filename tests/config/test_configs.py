"""Configurations of published experiments: each is accepted as it is, with the values of its source."""

from decimal import Decimal

import pytest
from commands import call, runs
from conftest import ROOT

from Models.registry import architecture
from Utils.config.settings import Settings
from Utils.results import load_summaries

FOLDER = ROOT / "Experiments" / "configs"

GEM_MINER = {
    "weight_init": None, "score_init": None, "score_penalty": None, "penalty_strength": 1e-4, "batch_size": 128,
    "optimizer": "momentum", "momentum": 0.9, "lr_schedule": "cosine", "fine_tune_weight_decay": 1e-4, "unflag": False,
}  # fmt: skip
FIVE = [Decimal(text) for text in ("1.7", "1.3", "1", "0.695", "0.3")]

PUBLISHED = {
    "gem_miner_fc": GEM_MINER | {
        "lr": 0.1, "iterations": 25 * 468, "weight_decay": 5e-4, "freeze_every": 2, "fine_tune_lr": 0.01,
        "fine_tune_lr_schedule": "constant",
    },
    "gem_miner_resnet20": GEM_MINER | {
        "lr": 0.05, "iterations": 150 * 390, "weight_decay": 0, "freeze_every": 5, "fine_tune_lr": 0.1,
        "fine_tune_lr_schedule": "step", "fine_tune_biases": False, "augmentation": "crop-flip",
    },
    "synflow_fc": {
        "optimizer": "sgd", "lr": 0.1, "lr_schedule": "constant", "iterations": 25 * 937, "batch_size": 64,
        "weight_decay": 0,
    },
    "synflow_resnet20": {
        "optimizer": "nesterov", "momentum": 0.9, "lr": 0.01, "lr_drops": (60 * 781, 120 * 781), "lr_drop_rate": 0.2,
        "iterations": 160 * 781, "batch_size": 64, "weight_decay": 5e-4,
    },
    "random_structured_fc": {
        "optimizer": "sgd", "lr": 0.1, "lr_schedule": "constant", "iterations": 25 * 937, "batch_size": 64,
        "weight_decay": 0, "target_sparsity": Decimal("0.932"),
    },
}  # fmt: skip


def configured(name: str) -> list[Settings]:
    return runs(f"--config={FOLDER / name}.yml")


def test_every_configuration_is_tested():
    assert {path.stem for path in FOLDER.iterdir()} == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_configuration_has_the_values_of_its_source(name):
    settings = configured(name)
    assert {run.run.sample for run in settings} == {0, 1, 2}
    for run in settings:
        assert {key: run.values()[key] for key in PUBLISHED[name]} == PUBLISHED[name]
        assert run.run.data == architecture(run.run.architecture).data


@pytest.mark.parametrize("name", ["synflow_fc", "synflow_resnet20"])
def test_synflow_and_random_masks_have_the_five_compressions(name):
    settings = configured(name)
    assert {(run.pruning.pruner, run.pruning.com_exp) for run in settings} == {
        (pruner, exponent) for pruner in ("synflow", "random") for exponent in FIVE
    }


def test_percentages_of_the_program_are_densities_here():
    densities = {run.target.density for run in configured("gem_miner_fc")}
    assert densities == {0.02, 0.05, 0.1, 0.2, 0.5}


@pytest.mark.parametrize("name", ["gem_miner_fc", "random_structured_fc"])
def test_a_configuration_runs_with_typed_changes(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shorter = ["--target_density=0.1", "--sample=1", "--batch_size=128"]
    if name == "gem_miner_fc":
        shorter += ["--iterations=33", "--freeze_every=1", "--sanity_checks=shuffle"]
    config = FOLDER / f"{name}.yml"
    assert call(tmp_path, f"--config={config}", *shorter) == 0
    assert load_summaries(tmp_path)["prunable"].tolist() == [119_400]
