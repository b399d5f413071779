"""Runs that start from the masks of another run (`--masks_from`)."""

from pathlib import Path

import pandas as pd
import torch
from conftest import OWN_NETWORK, layer_counts, masks_and_weights, rows_of, run_folder

import main
from Layers import prunable
from Models import build
from Utils import randomness

OWN = f"{OWN_NETWORK}:residual"


UNTRAINED = ["--data=digits", "--iterations=0"]


def call(tmp_path: Path, *words: str) -> pd.DataFrame:
    assert main.main([*UNTRAINED, *words, f"--out_path={tmp_path}"]) == 0
    return rows_of(tmp_path)


def test_a_run_goes_on_from_the_masks_of_another(tmp_path):
    first = call(tmp_path, "--pruner=random", "--target_sparsity=0.5").iloc[0]
    before, _ = masks_and_weights(tmp_path, first)
    place = f"--masks_from={run_folder(tmp_path, first)}"
    rows = call(tmp_path, "--pruner=mag,dense", "--target_sparsity=0.9", place)
    rows = rows[rows["run"] != first["run"]].set_index("pruner", drop=False)
    pruned, _ = masks_and_weights(tmp_path, rows.loc["mag"])
    assert pruned.kept == 26_620 and (pruned - before).kept == 0
    same, weights = masks_and_weights(tmp_path, rows.loc["dense"])
    assert same == before and rows.loc["dense", "kept_direct"] == 133_100
    initial = build("lenet300100", generator=randomness.generator(0, "initial weights"))
    assert all(torch.equal(weights[key], w * before[key]) for key, (w, _) in prunable(initial).items())
    by_name = call(tmp_path, "--pruner=mag", "--target_sparsity=0.9", f"--masks_from={first['run']}")
    assert len(by_name) == 3, "the same masks from anywhere are the same run"
    assert main.main([*UNTRAINED, place, "--pruner=mag", "--target_sparsity=0.2", f"--out_path={tmp_path}"]) == 2


def test_masks_of_another_run_are_trained_shuffled_and_from_other_weights(tmp_path):
    first = call(tmp_path, "--pruner=random/erk", "--target_sparsity=0.9").iloc[0]
    place = f"--masks_from={first['run']}"
    call(tmp_path, "--pruner=dense", place, "--shuffle")
    call(tmp_path, "--pruner=dense", place, "--reinitialize")
    rows = rows_of(tmp_path)
    shuffled = masks_and_weights(tmp_path, rows[rows["settings"].str.contains("--shuffle")].iloc[0])[0]
    fresh = masks_and_weights(tmp_path, rows[rows["settings"].str.contains("--reinitialize")].iloc[0])[0]
    original = masks_and_weights(tmp_path, first)[0]
    assert fresh == original != shuffled and layer_counts(shuffled) == layer_counts(original)


def test_trained_weights_of_a_network_that_starts_from_masks_of_biases(tmp_path):
    first = call(tmp_path, "--pruner=random", "--target_sparsity=0.5", "--prune_bias").iloc[0]
    words = ["--pruner=magnitude", "--target_sparsity=0.8", "--prune_bias", f"--masks_from={first['run']}"]
    rows = call(tmp_path, *words)
    assert set(rows["pruner"]) == {"random", "dense", "magnitude"} and not rows["error"].any()


def test_masked_weights_stay_zero_through_training(tmp_path):
    first = call(tmp_path, "--pruner=random", "--target_sparsity=0.9").iloc[0]
    words = ["--data=digits", "--iterations=20", "--evaluate_every=20", "--pruner=dense", f"--out_path={tmp_path}"]
    assert main.main([*words, f"--masks_from={first['run']}"]) == 0
    row = rows_of(tmp_path).query("iterations == 20").iloc[0]
    masks, weights = masks_and_weights(tmp_path, row)
    assert masks.kept == 26_620 and all(not weights[key][~mask].any() for key, mask in masks.items())
