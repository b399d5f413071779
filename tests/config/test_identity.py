"""Identity of a run: keys that stay, equal runs with one key, defaults that stay."""

import dataclasses
from dataclasses import dataclass

import pytest
from commands import call, runs

from Experiments.registry import EXPERIMENTS
from Utils.config.fields import plain, setting
from Utils.config.groups import GROUPS
from Utils.results import load_summaries

PINNED = {
    "": "a7bef87ec0",
    "--target_density=0.1": "a7bef87ec0",
    "--pruner=dense": "49dc6f1283",
    "--pruner=random/igq --pruning_type=effective --com_exp=2.5 --sample=3": "daa5808cd0",
    "--architecture=lenet5 --train=0 --batchnorm=batch": "68faad6ee8",
    "--experiment=supermask --freeze_every=2 --unflag --sanity_checks=invert,shuffle": "59dcf68ba0",
}


@pytest.mark.parametrize(("line", "key"), PINNED.items())
def test_names_of_runs_never_change(line, key):
    """A changed key orphans every result of that kind: new fields need a default that changes nothing."""
    (settings,) = runs(*line.split())
    assert settings.key() == key


DEFAULTS = {
    "run": {
        "experiment": "singleshot", "architecture": "lenet300100", "pretrained": False, "dense_classifier": False,
        "data": None, "image_size": None, "mean": None, "std": None, "data_key": None, "architecture_key": None,
        "inputs_key": None, "experiment_revision": 0, "sample": 0,
    },
    "pruning": {
        "pruner": "snip", "pruning_type": "direct", "effective_type": "exact", "target_sparsity": "0.9",
        "com_exp": None, "prune_examples": None, "weights_key": None, "masks_key": None, "pruner_revision": None,
        "pre_iterations": None, "prune_iterations": None, "schedule": "exponential", "prune_unit": "weight",
        "draws": ["0.1275", "0.1333", "0.2"], "active_rows": ["0.06", "0.3", "1"], "tile": [2, 3],
        "compute_aware": False, "prune_bias": False, "prune_batchnorm": False, "prune_residual": False,
        "prune_train_mode": None, "keep_alive": False, "invert": False, "shuffle": False, "reinitialize": False,
    },
    "training": {
        "train": True, "iterations": None, "epochs": None, "optimizer": None, "lr": None, "lr_drops": None,
        "lr_drop_rate": None, "lr_schedule": None, "lr_cycle": None, "warmup": None, "momentum": None,
        "weight_decay": None, "weight_decay_scope": None, "batch_size": None, "accumulate": 1, "augmentation": None,
        "augmentation_revision": 0, "batchnorm": "running", "validation": 0, "evaluate_every": None,
    },
    "machine": {"precision": "fp32"},
    "singleshot": {"branch_at": None},
    "multishot": {"branch_at": None, "levels": 3, "rewind": "init"},
    "gradual": {
        "start_step": 0.0, "prune_every": 100, "ramp": "cubic", "initial_sparsity": "0", "end_step": 0.5,
        "ramp_cycle": None, "carry_mask": False,
    },
    "train-then-prune": {
        "k_vals": ["0", "0.25", "0.5", "0.6", "0.7", "0.8", "0.9", "0.95", "0.97", "0.99"], "keep_best": True,
        "l1_reg": 0.0, "l2_reg": 0.0,
    },
    "dynamic": {"grow": "gradient", "drop_fraction": 0.3, "exchange_every": 100, "end_step": 0.75},
    "union-mask": {"start_step": 0.0, "prune_every": 100, "arm": "union", "cycles": 10, "end_step": None},
    "supermask": {
        "algorithm": "gem-miner", "weight_init": None, "scale_fan": False, "score_init": None,
        "score_penalty": None, "penalty_strength": 1e-4, "penalty_exponents": [1.0, 1.0], "clamp_forward": False,
        "quantize": True, "threshold": 0.5, "rounding": "threshold", "unflag": False, "freeze_every": 5,
        "freeze_rule": "global", "stop_freezing": None, "smart_ratio_ends": None, "fine_tune_length": 1.0,
        "fine_tune_optimizer": "momentum", "fine_tune_lr": 0.01, "fine_tune_lr_schedule": "constant",
        "fine_tune_lr_drops": None, "fine_tune_weight_decay": 1e-4, "fine_tune_biases": True, "sanity_checks": [],
    },
    "compare": {
        "runs_key": None, "files_key": None,
        "parts": ["densities", "distances", "activations", "structure", "pictures", "outcomes", "predictions"],
        "variant": "corrected", "alignment": "auto", "swaps": 0, "nulls": 5, "null_models": ["layer"],
        "shortcuts": True, "images": 1000, "when": "after", "points": 11, "report": False,
    },
    "anatomy": {
        "runs_key": None, "samples": 5, "controls": ["random", "shuffle", "reinitialize"],
        "pruners": [
            "random", "random/erk", "random/igq", "random/snip", "random/synflow", "mag", "magnitude", "lamp", "snip",
            "snip_iterative", "grasp", "synflow", "fisher",
        ],
        "sparsities": ["0.9", "0.99", "0.995", "0.998", "0.999", "0.9995"],
        "control_sparsities": ["0.99", "0.999"], "control_samples": 3, "resamples": 2000,
    },
    "imp-conservation": {"weight_init": "unchanged"},
    "layer-collapse": {"exponents": None},
    "quotas": {"exponents": ["1", "2", "3"]},
}  # fmt: skip
"""The values that an identity leaves out, by group of flags.

`prune_train_mode` and `weight_decay_scope` are left out where they are `training` and `kernels`.
"""


def test_defaults_never_change():
    """A key leaves defaults out, so a changed default would give old results, made with the old one, its new meaning.

    A new field is added here. An old one keeps its default; a better default is a new value of another name.
    """
    options = {name: entry.Options for name, entry in EXPERIMENTS.items() if entry.Options is not None}
    groups = GROUPS | options
    assert {
        name: {item.name: plain(item.default) for item in dataclasses.fields(group) if item.metadata["identity"]}
        for name, group in groups.items()
    } == DEFAULTS


def keys(*lines: str) -> set[str]:
    return {settings.key() for line in lines for settings in runs(*line.split())}


def test_equal_networks_have_one_name():
    assert len(keys("", "--target_sparsity=0.90", "--lr=0.1", "--iterations=1500", "--optimizer=momentum")) == 1
    assert len(keys("", "--device=cpu", "--out_path=x", "--save=0", "--overwrite", "--path_to_data=y")) == 1
    assert len(keys("--epochs=2", "--iterations=44")) == 1
    assert len(keys("", "--lr_schedule=step", "--warmup=0")) == 1
    assert len(keys("--pruner=dense", "--pruner=dense,snip --target_sparsity=0.5 --pruning_type=effective")) == 2
    assert len(keys("--pruner=rand/igq", "--pruner=random/igq", "--pruner random/igq")) == 1
    assert len(keys("", "--prune_examples=1437", "--prune_iterations=1", "--schedule=one-shot")) == 1
    assert len(keys("--pruner=synflow", "--pruner=synflow --prune_iterations=100", "--pruner=synflow/synflow")) == 1
    assert len(keys("--pruner=mag", "--pruner=magnitude --pre_iterations=0", "--pruner=mag --pre_iterations=0")) == 1
    assert len(keys("--pruner=random/mag --pre_iterations=9", "--pruner=random/magnitude --pre_iterations=9")) == 1
    assert len(keys("--pruner=magnitude", "--pruner=mag --pre_iterations=1500", "--pruner=magnitude/global")) == 1
    assert len(keys("--pruner=snip/iterative", "--pruner=snip_iterative --prune_iterations=300")) == 1
    assert len(keys("--pruner=synflow --schedule=one-shot", "--pruner=synflow --prune_iterations=1")) == 1
    assert len(keys("--target_sparsity=0.9", "--target_sparsity=0." + "8" + "9" * 40)) == 2


@pytest.mark.parametrize("experiment", [name for name in EXPERIMENTS if EXPERIMENTS[name].has_targets])
def test_a_density_is_another_spelling_of_a_sparsity(experiment):
    long = "0." + "1" * 40, "0." + "8" * 39 + "9"
    for density, sparsity in (("0.02", "0.98"), ("1", "0"), ("1e-2", "0.990"), long):
        (one,) = runs(f"--experiment={experiment}", f"--target_density={density}")
        (other,) = runs(f"--experiment={experiment}", f"--target_sparsity={sparsity}")
        assert one.values()["target_density"] is None and one.identity() == other.identity()


def test_a_density_finds_the_finished_run_of_the_sparsity(tmp_path, capsys):
    assert call(tmp_path, "--pruner=random", "--target_sparsity", "0.98", "0.9") == 0
    rows, record = load_summaries(tmp_path), {path: path.read_bytes() for path in tmp_path.rglob("run.json")}
    capsys.readouterr()
    assert call(tmp_path, "--pruner=random", "--target_density", "0.02", "0.1", "0.5") == 0
    assert capsys.readouterr().out.count("complete already") == 2
    kept = load_summaries(tmp_path).set_index("target_sparsity")["kept_direct"]
    assert kept.to_dict() == {0.98: 5_324, 0.9: 26_620, 0.5: 133_100}
    assert all(path.read_bytes() == content for path, content in record.items()) and len(rows) == len(record) == 2
    assert not load_summaries(tmp_path)["settings"].str.contains("density").any()


def test_equal_searches_have_one_name():
    lines = [
        "", "--algorithm=gem-miner", "--score_init=uniform", "--score_penalty=l2", "--target_density=0.1",
        "--sanity_checks=", "--unflag=0", "--stop_freezing=7 --algorithm=gem-miner",
    ]  # fmt: skip
    names = [keys(f"--experiment=supermask {line}") for line in lines]
    assert all(name == names[0] for name in names[:-1]) and names[-1] != names[0]
    orders = [
        f"--experiment=supermask --sanity_checks {order}" for order in ("shuffle invert", "invert shuffle invert")
    ]
    assert len(keys(*orders)) == 1 and keys(orders[0]) != names[0]


def test_different_networks_have_different_names():
    lines = [
        "", "--sample=1", "--architecture=lenet5", "--pruner=synflow", "--target_sparsity=0.91", "--com_exp=1",
        "--pruning_type=effective", "--pruning_type=effective --effective_type=graph", "--lr=0.2", "--momentum=0.8",
        "--batch_size=32", "--batchnorm=batch", "--validation=10", "--evaluate_every=10", "--augmentation=rotation",
        "--train=0", "--lr_drops=5", "--lr_drop_rate=0.5", "--weight_decay=0", "--prune_examples=10",
        "--optimizer=nesterov", "--iterations=3", "--prune_bias", "--prune_batchnorm", "--invert", "--shuffle",
        "--reinitialize", "--keep_alive", "--prune_train_mode=0", "--prune_iterations=4", "--pruner=mag",
        "--prune_iterations=4 --schedule=linear", "--pruner=synflow --schedule=polynomial", "--pruner=magnitude",
        "--pruner=magnitude --pre_iterations=7", "--pruner=lamp --pre_iterations=0", "--pruner=random/snip",
        "--pruner=snip/iterative", "--lr_schedule=cosine", "--lr_schedule=cyclic", "--warmup=5",
        "--lr_schedule=cyclic --lr_cycle=9", "--dense_classifier",
    ]  # fmt: skip
    assert len(keys(*lines)) == len(lines)


def test_a_new_field_with_a_default_orphans_nothing():
    @dataclass(frozen=True)
    class Options:
        levels: int = setting(1, "a field of tomorrow", kind=int)

    (settings,) = runs()
    grown = dataclasses.replace(settings, options=Options())
    assert grown.key() == settings.key()
    assert grown.with_values(levels=2).key() != settings.key()
