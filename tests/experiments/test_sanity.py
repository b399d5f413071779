"""Sanity checks and further prunable parameters, by the command line: each changes what it should, and no more."""

from pathlib import Path

import pandas as pd
import pytest
import settings
import torch
from commands import runs
from conftest import OWN_NETWORK, layer_counts, masks_and_weights, rows_of, run_folder
from scored import network

import main
from Experiments.common.run_pruner import RunPruner
from Experiments.common.trial import Trial
from Layers import Masks, add_masks, mask_model, prunable
from Models import build
from Pruners import make_pruner
from Pruners.allocation import allocate
from Utils import randomness
from Utils.connectivity import effective_masks
from Utils.results.artifacts import Artifact
from Utils.training.context import RunContext

OWN = f"{OWN_NETWORK}:residual"
UNTRAINED = ["--data=digits", "--iterations=0"]


def call(tmp_path: Path, *words: str) -> pd.DataFrame:
    assert main.main([*UNTRAINED, *words, f"--out_path={tmp_path}"]) == 0
    return rows_of(tmp_path)


def pair(tmp_path: Path, *words: str, flag: str) -> list[tuple[Masks, dict]]:
    """A run, and the same with one more flag."""
    call(tmp_path / "plain", *words)
    call(tmp_path / "checked", *words, flag)
    return [masks_and_weights(tmp_path / name, rows_of(tmp_path / name).iloc[-1]) for name in ("plain", "checked")]


QUICK = {"random", "magnitude", "snip", "synflow", "random/erk", "magnitude/igq", "random/snip"}


@pytest.mark.parametrize(
    "name", settings.slow_unless(QUICK, [*settings.CRITERIA, "random/erk", "magnitude/igq", "random/snip"])
)
def test_shuffling_keeps_counts_of_layers_and_initial_weights(tmp_path, name):
    words = [f"--pruner={name}", "--architecture=lenet5", "--target_sparsity=0.95"]
    plain, shuffled = pair(tmp_path, *words, flag="--shuffle")
    assert layer_counts(plain[0]) == layer_counts(shuffled[0])
    assert all(not torch.equal(mask, shuffled[0][key]) for key, mask in plain[0].items() if 0 < mask.sum() < len(mask))
    assert plain[0].overlap(shuffled[0]) < 0.3
    for key in plain[0]:
        both = plain[0][key] & shuffled[0][key]
        assert torch.equal(plain[1][key][both], shuffled[1][key][both])


@pytest.mark.parametrize("name", settings.NETWORKS)
def test_shuffled_masks_are_as_many_as_the_pruner_kept_for_an_effective_target(tmp_path, name):
    words = [f"--architecture={name}", "--pruning_type=effective", "--target_sparsity=0.98"]
    plain, shuffled = pair(tmp_path, *words, flag="--shuffle")
    assert layer_counts(plain[0]) == layer_counts(shuffled[0])
    row = rows_of(tmp_path / "checked").iloc[0]
    assert row["kept_effective"] == Masks(effective_masks(network(name), settings.NETWORKS[name], shuffled[0])).kept
    assert row["kept_effective"] != row["target_kept"], "permuted masks reach what they reach"
    assert "--shuffle=1" in row["settings"]


@pytest.mark.parametrize("architecture", ["lenet300100", "lenet5", "lottery/resnet20", "imagenet/squeezenet1_1", OWN])
def test_reinitializing_keeps_the_masks_and_draws_other_weights(tmp_path, architecture):
    words = ["--pruner=random", "--target_sparsity=0.3", f"--architecture={architecture}", "--image_size=32"]
    plain, fresh = pair(tmp_path, *words, flag="--reinitialize")
    assert plain[0] == fresh[0]
    for key, mask in plain[0].items():
        assert not (plain[1][key][mask] == fresh[1][key][mask]).any()
        assert fresh[1][key][mask].std() == pytest.approx(plain[1][key][mask].std(), rel=0.5)
    expected = build(architecture, None if architecture in settings.NETWORKS else (3, 32, 32), 10, "running",
                     randomness.generator(0, "new weights"))  # fmt: skip
    if architecture not in settings.NETWORKS:
        for key, (weight, _) in prunable(expected).items():
            assert torch.equal(fresh[1][key], weight * fresh[0][key])


def test_inverting_by_command_line(tmp_path):
    plain, inverted = pair(tmp_path, "--pruner=mag", "--target_sparsity=0.5", flag="--invert")
    assert plain[0] == ~inverted[0], "half and half"


# Further parameters


def test_biases_and_scales_are_counted_and_pruned(tmp_path):
    rows = call(tmp_path, "--prune_bias", "--prune_batchnorm", "--pruner=random,snip,synflow,magnitude/erk,mag/igq",
                "--pruning_type=direct,effective", "--target_sparsity=0.9")  # fmt: skip
    rows = rows[rows["pruner"] != "dense"]
    total = 266_200 + 410 + 2 * (300 + 100 + 10)
    assert len(rows) == 10 and set(rows["prunable"]) == {total}
    assert set(rows.loc[rows["pruning_type"] == "direct", "kept_direct"]) == {total - int(total * 0.9)}
    for _, row in rows.iterrows():
        masks, _ = masks_and_weights(tmp_path, row)
        model = build("lenet300100")
        for kind in ("bias", "batchnorm"):
            add_masks(model, kind)
        assert {"fc1.bias", "fc1_norm.weight", "fc1_norm.bias"} <= set(masks) == set(prunable(model))
        assert row["kept_effective"] == Masks(effective_masks(model, (1, 28, 28), masks)).kept
        layers = pd.read_csv(run_folder(tmp_path, row) / "layers.csv").set_index("layer")
        assert layers.loc["fc1_norm.weight", "size"] == 300 and layers.loc["fc1_norm.weight", "macs"] == 0


def test_skips_are_pruned_channel_by_channel(tmp_path):
    words = ["--architecture=lottery/resnet20", "--prune_residual", "--pruner=random", "--target_sparsity=0.5"]
    (row,) = (row for _, row in call(tmp_path, *words).iterrows())
    masks, weights = masks_and_weights(tmp_path, row)
    skips = {name: mask for name, mask in masks.items() if mask.dim() == 1}
    assert row["prunable"] == 270_896 + 16 * 3 + 32 * 2 + 64 * 2 == masks.total
    assert [len(mask) for mask in skips.values()] == [16] * 3 + [32] * 2 + [64] * 2
    assert all(0 < int(mask.sum()) < len(mask) for mask in skips.values())
    assert all(torch.equal(weights[name], mask.float()) for name, mask in skips.items())


def test_batch_normalisation_of_any_network_is_pruned(tmp_path):
    words = ["--architecture=imagenet/resnet18", "--image_size=64", "--prune_batchnorm", "--pruner=snip"]
    (row,) = (row for _, row in call(tmp_path, *words, "--prune_examples=16", "--batch_size=8").iterrows())
    masks, _ = masks_and_weights(tmp_path, row)
    assert masks["bn1.weight"].numel() == 64 and row["prunable"] == masks.total == 11_172_032 + 2 * 4_800
    plain = mask_model(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2)))
    add_masks(plain, "batchnorm")
    plain[1].weight_mask[0] = False
    out = plain.eval()(torch.ones(1, 1, 2, 2))
    assert not out[:, 0].any() and out[:, 1].any()


def test_what_a_network_does_not_have_cannot_be_pruned():
    with pytest.raises(ValueError, match="Sequential has no identity skips that could be pruned"):
        add_masks(build("lenet5"), "residual")
    with pytest.raises(ValueError, match="unknown kind 'weights'; there are: bias, batchnorm, residual"):
        add_masks(build("lenet5"), "weights")
    model = build("lenet5")
    add_masks(model, "bias")
    add_masks(model, "bias")


@pytest.mark.parametrize(("architecture", "classifier"), [("lenet5", 840), ("lottery/resnet20", 640), (OWN, 320)])
def test_a_dense_classifier_is_neither_pruned_nor_counted(tmp_path, architecture, classifier):
    words = [f"--architecture={architecture}", "--image_size=32", "--pruner=random", "--target_sparsity=0.9"]
    plain = call(tmp_path, *words).iloc[0]
    rows = call(tmp_path, *words, "--dense_classifier")
    dense = rows[rows["run"] != plain["run"]].iloc[0]
    assert plain["prunable"] - dense["prunable"] == classifier and dense["macs"] == plain["macs"]
    masks, weights = masks_and_weights(tmp_path, dense)
    last = list(masks_and_weights(tmp_path, plain)[0])[-1]
    assert last not in masks and weights[last].all() and masks.kept == dense["target_kept"]


# Weights of a network that was trained for some time


def test_pre_iterations_decide_which_weights_are_scored(tmp_path):
    words = [
        "--data=digits",
        "--iterations=12",
        "--evaluate_every=6",
        "--target_sparsity=0.9",
        f"--out_path={tmp_path}",
    ]
    assert main.main([*words, "--pruner=magnitude,lamp", "--pre_iterations=6"]) == 0
    rows = rows_of(tmp_path).set_index("pruner", drop=False)
    assert rows.loc["dense", "iterations"] == 6 and rows.loc["lamp", "iterations"] == 12
    trained = masks_and_weights(tmp_path, rows.loc["dense"])[1]
    for name in ("magnitude", "lamp"):
        model = build("lenet300100")
        model.load_state_dict({**model.state_dict(), **trained})
        expected = allocate(model, make_pruner(name).score(model), "0.9", (1, 28, 28), "direct")
        assert masks_and_weights(tmp_path, rows.loc[name])[0] == expected


@pytest.mark.parametrize("name", ["magnitude", "magnitude/uniform", "lamp", "l2", "mag"])
def test_scored_weights_are_rewound(tmp_path, name):
    rows = call(tmp_path, f"--pruner={name}", "--architecture=lenet5").set_index("pruner", drop=False)
    masks, weights = masks_and_weights(tmp_path, rows.loc[name])
    initial = build("lenet5", generator=randomness.generator(0, "initial weights"))
    for key, (weight, _) in prunable(initial).items():
        assert torch.equal(weights[key][masks[key]], weight[masks[key]])


# Scores are made once


@pytest.mark.parametrize(("name", "calls"), [("synflow", 2), ("snip", 1), ("random/snip_iterative", 2)])
def test_scores_are_made_once_for_both_pruning_types(tmp_path, monkeypatch, name, calls):
    """Once for all targets too, unless a criterion prunes step by step towards each."""
    made = []
    original = RunPruner.scores

    def counted(*arguments):
        made.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(RunPruner, "scores", counted)
    words = [f"--pruner={name}", "--prune_iterations=5" if calls == 2 else "--prune_iterations=1"]
    words += ["--prune_examples=20"] * (name != "synflow")
    rows = call(tmp_path, *words, "--pruning_type=direct,effective", "--target_sparsity=0.9,0.99")
    assert len(made) == calls and len(rows) == 4
    for _, row in rows.iterrows():
        alone = [f"--target_sparsity={row['target_sparsity']}", f"--pruning_type={row['pruning_type']}"]
        again = call(tmp_path / row["run"], *words, *alone)
        assert masks_and_weights(tmp_path / row["run"], again.iloc[0])[0] == masks_and_weights(tmp_path, row)[0]


def test_remembered_scores_are_told_apart_by_digests_and_no_weights_are_read():
    class Unread(dict):
        def __iter__(self):
            raise AssertionError("weights are read")

    (run,) = runs("--pruner=magnitude")
    keys = {Trial(run, RunContext(), Artifact(digest, Unread())).cache_key for digest in ("a", "b", "a")}
    assert len(keys) == 2 and Trial(run, RunContext()).cache_key not in keys
