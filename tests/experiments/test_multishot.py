"""Levels of training, pruning and rewinding: counts, bit-equal weights, and the control."""

from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import rows_of, run_folder
from safetensors.torch import load_file

import Experiments.runs.multishot as multishot
import main
from Experiments.common import trial
from Experiments.common.network import state_of
from Layers import Masks
from Utils.config.target import Target

WORDS = ["--experiment=multishot", "--data=digits"]
SHORT = ["--iterations=12", "--evaluate_every=6", "--target_sparsity=0.9"]


def call(tmp_path: Path, *words: str, length: list[str] = SHORT, row: str = "") -> pd.Series:
    """Run one network; its row."""
    assert main.main([*WORDS, *length, *words, f"--out_path={tmp_path}"]) == 0
    (found,) = (found for _, found in rows_of(tmp_path).iterrows() if row in ("", found["pruner"]))
    return found


@pytest.fixture
def trainings(monkeypatch):
    """What each training starts with and ends with: (state, masks, recipe, start, state afterwards)."""
    seen, original = [], trial.train

    def spied(task, *others):
        before, masks = on_cpu(state_of(task.model)), Masks.of(task.model).to("cpu")
        history = original(task, *others)
        seen.append((before, masks, task.recipe, task.start, on_cpu(state_of(task.model))))
        return history

    monkeypatch.setattr(trial, "train", spied)
    return seen


def on_cpu(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.cpu() for name, value in state.items()}


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_lottery_tickets_go_back_to_the_initial_weights_bit_for_bit(tmp_path, trainings):
    row = call(tmp_path, "--pruner=magnitude", "--levels=3", "--architecture=lottery/resnet20", "--batch_size=16")
    assert len(trainings) == 4
    initial = trainings[0][0]
    for (before, masks, *_), (_, earlier, _, _, after) in zip(trainings[1:], trainings, strict=False):
        assert same(before, initial), "weights and buffers of batch normalisation"
        assert (masks - earlier).kept == 0, "what is pruned stays pruned"
        # Brute force: the largest of what was left, by the trained weights.
        sizes = torch.cat([(after[name].abs() * earlier[name]).flatten() for name in masks])
        kept = torch.cat([mask.flatten() for mask in masks.values()])
        assert sizes[kept].min() >= sizes[~kept].max()
    counts = [masks.kept for _, masks, *_ in trainings]
    total = trainings[0][1].total
    assert counts == [total, *(-(-total // 10 ** (n / 3)) for n in (1, 2)), total - total * 9 // 10]
    levels = pd.read_csv(run_folder(tmp_path, row) / "levels.csv")
    assert tuple(levels.columns) == multishot.LEVEL_COLUMNS and levels["kept_direct"].tolist() == counts
    assert levels["weights"].tolist() == ["initial", *["rewound"] * 3] and (levels["iterations"] == 12).all()
    assert row["kept_direct"] == counts[-1] == row["target_kept"] and row["levels"] == 3
    assert levels["top1"].iloc[-1] == row["top1"]
    saved = load_file(run_folder(tmp_path, row) / "weights.safetensors")
    final, masks = trainings[-1][4], trainings[-1][1]
    assert all(torch.equal(saved[name], final[name] * masks[name]) for name in masks)
    rows = pd.read_csv(run_folder(tmp_path, row) / "trainings.csv")
    assert rows["level"].tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3


def test_early_rewinding_goes_back_to_a_step_and_on_from_there(tmp_path, trainings):
    row = call(tmp_path, "--pruner=mag", "--levels=2", "--rewind=5", "--optimizer=sgd", "--pre_iterations=8")
    assert row["pruner"] == "magnitude", "weights are scored as trained"
    (initial, *_), (early, _, first, start, _), (again, _, second, late, _) = trainings
    assert same(early, again) and not same(early, initial) and start == late == 5
    assert (first.iterations, second.iterations) == (8, 12)
    # Five steps of plain training lead there.
    trainings.clear()
    call(tmp_path / "short", "--pruner=mag", "--iterations=5", "--optimizer=sgd", "--levels=1")
    assert same(trainings[0][4], early)


def test_training_from_a_later_step_is_the_rest_of_training(tmp_path, monkeypatch):
    """Without momentum and pruning, rewinding to a step and training on ends where the whole training does."""
    ends = []
    original = trial.train

    def spied(task, *others):
        history = original(task, *others)
        ends.append(state_of(task.model))
        return history

    monkeypatch.setattr(trial, "train", spied)
    words = ["--target_sparsity=0", "--rewind=31", "--optimizer=sgd", "--iterations=70", "--augmentation=crop-flip"]
    call(tmp_path, *words, "--levels=1", "--lr_drops", "10", "40", length=["--evaluate_every=30"])
    assert len(ends) == 2 and same(ends[0], ends[1])


@pytest.mark.parametrize(("rewind", "rates"), [("lr", [0.1, 0.01]), ("none", [0.01, 0.01])])
def test_weights_that_are_not_rewound(tmp_path, trainings, rewind, rates):
    row = call(tmp_path, "--pruner=magnitude", "--levels=1", f"--rewind={rewind}", "--lr_drops=6")
    (_, _, _, _, after), (before, *_) = trainings
    assert same(before, after)
    rows = pd.read_csv(run_folder(tmp_path, row) / "trainings.csv")
    assert rows[(rows["level"] == 1) & (rows["iteration"] > 0)]["lr"].tolist() == pytest.approx(rates)


def test_control_has_the_masks_and_other_weights(tmp_path, trainings):
    row = call(tmp_path, "--pruner=magnitude", "--levels=2", "--reinitialize")
    levels = pd.read_csv(run_folder(tmp_path, row) / "levels.csv")
    assert levels[["level", "weights"]].values.tolist() == [
        [0, "initial"], [1, "rewound"], [1, "new"], [2, "rewound"], [2, "new"]
    ]  # fmt: skip
    _, ticket, control, later, last = trainings
    assert ticket[1] == control[1] and later[1] == last[1] and same(control[0], last[0])
    assert same(ticket[0], later[0]) and not same(ticket[0], control[0])
    assert row["top1"] == levels["top1"].iloc[-1]
    saved = load_file(run_folder(tmp_path, row) / "weights.safetensors")
    assert all(torch.equal(saved[name], last[4][name] * last[1][name]) for name in last[1])


@pytest.mark.parametrize("pruner", ["snip", "synflow", "random/erk", "lamp", "magnitude/snip"])
def test_any_pruner_at_each_level(tmp_path, pruner):
    row = call(tmp_path, f"--pruner={pruner}", "--levels=2", "--pruning_type=effective")
    levels = pd.read_csv(run_folder(tmp_path, row) / "levels.csv")
    assert (levels["kept_effective"] >= levels["target_kept"]).all() and row["kept_effective"] >= 26_620


def test_one_spelling(tmp_path):
    first, second = (call(tmp_path / word, "--pruner=snip", "--levels=1", f"--rewind={word}") for word in ("0", "init"))
    assert first["run"] == second["run"]
    plain = call(tmp_path / "plain", "--pruner=dense,snip", "--levels=1", row="dense")
    assert call(tmp_path / "before", "--pruner=dense,snip", "--pre_iterations=5", row="dense")["run"] == plain["run"]


def test_levels_that_ask_for_more_than_there_is_prune_nothing(tmp_path):
    sparse = call(tmp_path / "sparse", "--pruner=mag", "--levels=1")
    masks = run_folder(tmp_path / "sparse", sparse) / "masks.safetensors"
    words = ["--iterations=12", "--target_sparsity=0.95", f"--masks_from={masks}"]
    row = call(tmp_path / "on", "--pruner=mag", "--levels=3", length=words)
    levels = pd.read_csv(run_folder(tmp_path / "on", row) / "levels.csv")
    assert levels["kept_direct"].tolist() == [26_620, 26_620, 26_620, 13_310]


def test_the_control_is_trained_like_a_new_network(tmp_path, trainings):
    call(tmp_path, "--pruner=mag", "--levels=1", "--rewind=none", "--lr_drops=6", "--reinitialize")
    _, ticket, control = trainings
    assert (ticket[2].lr, ticket[2].lr_schedule) == (pytest.approx(0.01), "constant")
    assert (control[2].lr, control[2].lr_schedule) == (0.1, "step")


def test_dense_and_untrained(tmp_path):
    row = call(tmp_path / "dense", "--pruner=dense,random", "--levels=1", row="dense")
    assert row["levels"] == 0 and row["kept_direct"] == 266_200
    row = call(tmp_path / "untrained", "--pruner=magnitude", "--train=0", "--levels=2", length=[])
    levels = pd.read_csv(run_folder(tmp_path / "untrained", row) / "levels.csv")
    assert (levels["iterations"] == 0).all() and row["kept_direct"] == 26_620


@pytest.mark.parametrize("target", [Target(com_exp=Decimal(2)), Target.of("0.99"), Target.of("0.9"), Target.of("0")])
def test_parts_of_a_target_prune_the_same_fraction_each(target):
    densities = [1.0, *(target.part(step, 4).density for step in (1, 2, 3, 4))]
    ratios = [after / before for before, after in pairwise(densities)]
    assert ratios == pytest.approx([target.density**0.25] * 4) and target.part(4, 4) is target


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--rewind=13"], "--rewind=13 is more than the 12 iterations of the first training"),
        (["--rewind=²"], "--rewind must be init, none, lr or a number of iterations, not ²"),
        (["--rewind=none", "--lr_schedule=one-cycle"], "--lr_schedule=one-cycle leaves at almost 0; use --rewind=lr"),
        (["--rewind=back"], "--rewind must be init, none, lr or a number of iterations, not back"),
        (["--pruner=dense"], "--experiment has no effect on pruner dense, which prunes nothing; leave it out"),
        (["--pruner=dense", "--masks_from=x", "--reinitialize"], "--masks_from=x is not a file"),
        (["--levels=0"], "--levels must be between 1 and 100,000, not 0"),
        (["--shuffle"], "--shuffle has no effect with --experiment=multishot"),
        (["--ramp=linear"], "--ramp has no effect with --experiment=multishot; it belongs to gradual"),
    ],
)
def test_mistakes(tmp_path, capsys, words, message):
    assert main.main([*WORDS, *SHORT, *words, f"--out_path={tmp_path}"]) == 2
    assert message in capsys.readouterr().err and not list(tmp_path.rglob("*.csv"))
