"""Sanity checks, further parameters and starting masks, by command line: each changes what it should, and no more."""

from pathlib import Path

import pandas as pd
import pytest
import settings
import torch
from conftest import rows_of, run_folder
from networks import make
from safetensors.torch import load_file
from scored import network, pruner_scores

import Experiments.common.masks_for_run as experiment
import main
from Layers import Masks, add_masks, mask_model, prunable
from Models import build
from Pruners import make_pruner
from Pruners.allocation import allocate
from Pruners.keep_alive import keep_alive
from Utils import randomness
from Utils.connectivity import effective_masks
from Utils.errors import UserError
from Utils.sparsity.measure import measure

OWN = f"{Path(__file__).parent / 'own' / 'residual_network.py'}:residual"
UNTRAINED = ["--data=digits", "--iterations=0"]


def call(tmp_path: Path, *words: str) -> pd.DataFrame:
    assert main.main([*UNTRAINED, *words, f"--out_path={tmp_path}"]) == 0
    return rows_of(tmp_path)


def kept(tmp_path: Path, row: pd.Series) -> tuple[Masks, dict]:
    folder = run_folder(tmp_path, row)
    return Masks.load(folder / "masks.safetensors"), load_file(folder / "weights.safetensors")


def counts(masks: Masks) -> list[int]:
    return [int(mask.sum()) for mask in masks.values()]


def pair(tmp_path: Path, *words: str, flag: str) -> list[tuple[Masks, dict]]:
    """A run, and the same with one more flag."""
    call(tmp_path / "plain", *words)
    call(tmp_path / "checked", *words, flag)
    return [kept(tmp_path / name, rows_of(tmp_path / name).iloc[-1]) for name in ("plain", "checked")]


@pytest.mark.parametrize("name", [*settings.CRITERIA, "random/erk", "magnitude/igq", "random/snip"])
def test_shuffling_keeps_counts_of_layers_and_initial_weights(tmp_path, name):
    words = [f"--pruner={name}", "--architecture=lenet5", "--target_sparsity=0.95"]
    plain, shuffled = pair(tmp_path, *words, flag="--shuffle")
    assert counts(plain[0]) == counts(shuffled[0])
    assert all(not torch.equal(mask, shuffled[0][key]) for key, mask in plain[0].items() if 0 < mask.sum() < len(mask))
    assert plain[0].overlap(shuffled[0]) < 0.3
    for key in plain[0]:
        both = plain[0][key] & shuffled[0][key]
        assert torch.equal(plain[1][key][both], shuffled[1][key][both])


@pytest.mark.parametrize("name", settings.NETWORKS)
def test_shuffled_masks_are_as_many_as_the_pruner_kept_for_an_effective_target(tmp_path, name):
    words = [f"--architecture={name}", "--pruning_type=effective", "--target_sparsity=0.98"]
    plain, shuffled = pair(tmp_path, *words, flag="--shuffle")
    assert counts(plain[0]) == counts(shuffled[0])
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
        masks, _ = kept(tmp_path, row)
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
    masks, weights = kept(tmp_path, row)
    skips = {name: mask for name, mask in masks.items() if mask.dim() == 1}
    assert row["prunable"] == 270_896 + 16 * 3 + 32 * 2 + 64 * 2 == masks.total
    assert [len(mask) for mask in skips.values()] == [16] * 3 + [32] * 2 + [64] * 2
    assert all(0 < int(mask.sum()) < len(mask) for mask in skips.values())
    assert all(torch.equal(weights[name], mask.float()) for name, mask in skips.items())


def test_batch_normalisation_of_any_network_is_pruned(tmp_path):
    words = ["--architecture=imagenet/resnet18", "--image_size=64", "--prune_batchnorm", "--pruner=snip"]
    (row,) = (row for _, row in call(tmp_path, *words, "--prune_examples=16", "--batch_size=8").iterrows())
    masks, _ = kept(tmp_path, row)
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
    masks, weights = kept(tmp_path, dense)
    last = list(kept(tmp_path, plain)[0])[-1]
    assert last not in masks and weights[last].all() and masks.kept == dense["target_kept"]


# Masks of another run


def test_a_run_goes_on_from_the_masks_of_another(tmp_path):
    first = call(tmp_path, "--pruner=random", "--target_sparsity=0.5").iloc[0]
    before, _ = kept(tmp_path, first)
    place = f"--masks_from={run_folder(tmp_path, first)}"
    rows = call(tmp_path, "--pruner=mag,dense", "--target_sparsity=0.9", place)
    rows = rows[rows["run"] != first["run"]].set_index("pruner", drop=False)
    pruned, _ = kept(tmp_path, rows.loc["mag"])
    assert pruned.kept == 26_620 and (pruned - before).kept == 0
    same, weights = kept(tmp_path, rows.loc["dense"])
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
    shuffled = kept(tmp_path, rows[rows["settings"].str.contains("--shuffle")].iloc[0])[0]
    fresh = kept(tmp_path, rows[rows["settings"].str.contains("--reinitialize")].iloc[0])[0]
    original = kept(tmp_path, first)[0]
    assert fresh == original != shuffled and counts(shuffled) == counts(original)


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
    masks, weights = kept(tmp_path, row)
    assert masks.kept == 26_620 and all(not weights[key][~mask].any() for key, mask in masks.items())


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
    trained = kept(tmp_path, rows.loc["dense"])[1]
    for name in ("magnitude", "lamp"):
        model = build("lenet300100")
        model.load_state_dict({**model.state_dict(), **trained})
        expected = allocate(model, make_pruner(name).score(model), "0.9", (1, 28, 28), "direct")
        assert kept(tmp_path, rows.loc[name])[0] == expected


@pytest.mark.parametrize("name", ["magnitude", "magnitude/uniform", "lamp", "l2", "mag"])
def test_scored_weights_are_rewound(tmp_path, name):
    rows = call(tmp_path, f"--pruner={name}", "--architecture=lenet5").set_index("pruner", drop=False)
    masks, weights = kept(tmp_path, rows.loc[name])
    initial = build("lenet5", generator=randomness.generator(0, "initial weights"))
    for key, (weight, _) in prunable(initial).items():
        assert torch.equal(weights[key][masks[key]], weight[masks[key]])


# No layer empties


@pytest.mark.parametrize("pruning_type", ["direct", "effective"])
@pytest.mark.parametrize(("name", "architecture", "sparsity"), [
    ("random", "lenet300100", "0.9998"), ("mag", "lenet5", "0.998"), ("snip", "lenet5", "0.998"),
    ("random/uniform", "lenet5", "0.9995"),
])  # fmt: skip
def test_no_layer_empties(pruning_type, name, architecture, sparsity):
    model, shape = network(architecture), settings.NETWORKS[architecture]
    scores = pruner_scores(name, architecture, "0.95")
    plain = allocate(model, scores, sparsity, shape, pruning_type)
    found = keep_alive(model, scores, sparsity, shape, pruning_type)
    masks = allocate(model, found, sparsity, shape, pruning_type)
    effective = effective_masks(model, shape, masks)
    assert all(bool(mask.any()) for mask in effective.values())
    total = settings.PRUNABLE[architecture][0]
    wanted = total - int(total * float(sparsity))
    if pruning_type == "direct":
        assert masks.kept == wanted == plain.kept
        assert any(not mask.any() for mask in effective_masks(model, shape, plain).values()), "else nothing to do"
        assert len(prunable(model)) >= masks.kept - (masks & plain).kept, "only one path takes the place of others"
    else:
        assert Masks(effective).kept >= wanted


@pytest.mark.parametrize("name", ["residual", "concatenation", "gate", "grouped", "max-pooled"])
def test_paths_are_found_through_every_kind_of_connection(name):
    model, shape = make(name)
    scores = make_pruner("random").score(model)
    total = sum(score.numel() for score in scores.values())
    sparsity = f"{1 - (len(scores) + 6) / total:.6f}"
    found = keep_alive(model, scores, sparsity, shape, "direct")
    masks = allocate(model, found, sparsity, shape, "direct")
    assert all(bool(mask.any()) for mask in effective_masks(model, shape, masks).values())


def test_paths_of_more_weights_than_may_be_kept_are_refused(tmp_path, capsys):
    model, shape = network("lenet5"), (3, 32, 32)
    scores = pruner_scores("random", "lenet5", "0.95")
    with pytest.raises(UserError, match=r"5 of 61770 weights may not be pruned, 1 of them in conv1\.weight"):
        keep_alive(model, scores, "0.99995", shape, "direct")
    assert allocate(model, keep_alive(model, scores, "0.9999", shape, "direct"), "0.9999", shape, "direct").kept == 7
    words = ["--pruner=random", "--keep_alive", "--architecture=lenet5", "--data=digits", "--train=0"]
    assert main.main([*words, "--target_sparsity=0.99995", f"--out_path={tmp_path}"]) == 2
    assert "the highest direct sparsity is 0.9999" in capsys.readouterr().err


def test_keep_alive_by_command_line(tmp_path):
    rows = call(tmp_path, "--pruner=mag", "--keep_alive", "--com_exp=4", "--architecture=lenet5")
    assert list(rows["empty_layers"]) == [0] and not rows["collapsed"].iloc[0] and list(rows["kept_direct"]) == [7]
    plain = call(tmp_path / "plain", "--pruner=mag", "--com_exp=4", "--architecture=lenet5")
    assert plain["empty_layers"].iloc[0] > 0
    model = build("lenet5")
    kept(tmp_path, rows.iloc[0])[0].install(model)
    assert measure(model, (3, 32, 32)).totals["dead_units"] > 0


def test_keep_alive_leaves_what_a_quota_fixes():
    model, shape = network("lenet5"), (3, 32, 32)
    scores = pruner_scores("random/uniform_plus", "lenet5", "0.9")
    found = keep_alive(model, scores, "0.9895", shape, "direct")
    masks = allocate(model, found, "0.9895", shape, "direct")
    assert masks["conv1.weight"].all() and int(masks["fc3.weight"].sum()) >= 168
    assert all(bool(mask.any()) for mask in effective_masks(model, shape, masks).values())


# Scores are made once


@pytest.mark.parametrize(("name", "calls"), [("synflow", 2), ("snip", 1), ("random/snip_iterative", 2)])
def test_scores_are_made_once_for_both_pruning_types(tmp_path, monkeypatch, name, calls):
    """Once for all targets too, unless a criterion prunes step by step towards each."""
    made = []
    original = experiment.score

    def counted(*arguments):
        made.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(experiment, "score", counted)
    monkeypatch.setattr(experiment, "SCORE_CACHE", experiment.ScoreCache())
    words = [f"--pruner={name}", "--prune_iterations=5" if calls == 2 else "--prune_iterations=1"]
    words += ["--prune_examples=20"] * (name != "synflow")
    rows = call(tmp_path, *words, "--pruning_type=direct,effective", "--target_sparsity=0.9,0.99")
    assert len(made) == calls and len(rows) == 4
    for _, row in rows.iterrows():
        monkeypatch.setattr(experiment, "SCORE_CACHE", experiment.ScoreCache())
        alone = [f"--target_sparsity={row['target_sparsity']}", f"--pruning_type={row['pruning_type']}"]
        again = call(tmp_path / row["run"], *words, *alone)
        assert kept(tmp_path / row["run"], again.iloc[0])[0] == kept(tmp_path, row)[0]
