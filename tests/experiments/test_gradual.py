"""Pruning while training: exact targets, ramps, and what may come back."""

from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from conftest import rows_of, run_folder

import main
from Experiments.gradual import RAMPS
from Layers import Masks
from Pruners.schedules.sparsity_ramps import Ramp
from Utils.config.target import Target

WORDS = ["--data=digits", "--iterations=60", "--evaluate_every=20", "--target_sparsity=0.9"]
GRADUAL = [*WORDS, "--experiment=gradual", "--pruner=magnitude", "--prune_every=7"]
TOTAL = 266_200


def call(tmp_path: Path, *words: str) -> pd.Series:
    """Run one network; its row."""
    assert main.main([*words, f"--out_path={tmp_path}"]) == 0
    (row,) = (row for _, row in rows_of(tmp_path).iterrows())
    return row


@pytest.mark.parametrize("shape", RAMPS)
def test_the_target_is_reached_exactly_along_the_ramp(tmp_path, shape):
    words = [f"--ramp={shape}", "--start_step=0.1", "--end_step=0.8"]
    more = ["--initial_sparsity=0.25"] if shape in ("linear", "cubic") else []
    more += ["--ramp_cycle=15"] if "cycle" in shape else []
    row = call(tmp_path, *GRADUAL, *words, *more)
    assert row["kept_direct"] == row["target_kept"] == 26_620 and row["iterations"] == 60
    table = pd.read_csv(run_folder(tmp_path, row) / "sparsity.csv")
    assert table["iteration"].tolist() == [0, *range(6, 48, 7), 48]
    ramp = Ramp(shape, 6, 48, 0.25, 0.9, 15)
    wanted = [Target(Decimal(repr(ramp.sparsity(step)))).kept(TOTAL) for step in table["iteration"][1:]]
    wanted = [TOTAL, *wanted]
    assert table["kept_direct"].tolist() == wanted
    assert len(Masks.load(run_folder(tmp_path, row) / "masks.safetensors")) == 3


def test_what_is_pruned_may_come_back_unless_it_is_carried(tmp_path):
    tables = {}
    for carried in (0, 1):
        row = call(tmp_path / str(carried), *GRADUAL, "--ramp=full-cycle", "--ramp_cycle=10", f"--carry_mask={carried}")
        tables[carried] = pd.read_csv(run_folder(tmp_path / str(carried), row) / "sparsity.csv")
        assert row["kept_direct"] == 26_620
    assert tables[0]["direct_sparsity"].diff().min() < 0 < tables[0]["direct_sparsity"].diff().max()
    kept = tables[1]["kept_direct"]
    assert (kept.diff().dropna() <= 0).all()
    # Masks inside those of before: their overlap is the ratio of what they keep.
    assert tables[1]["overlap"][1:].tolist() == pytest.approx((kept / kept.shift())[1:].tolist())
    assert (tables[0]["overlap"][1:] < 1).any()


def test_pruning_before_the_first_step_is_a_single_shot(tmp_path):
    single = call(tmp_path / "single", *WORDS, "--pruner=snip", "--prune_examples=100")
    words = ["--experiment=gradual", "--pruner=snip", "--prune_examples=100", "--start_step=0", "--end_step=0"]
    early = call(tmp_path / "gradual", *WORDS, *words)
    masks = [
        Masks.load(run_folder(tmp_path / name, row) / "masks.safetensors")
        for name, row in (("single", single), ("gradual", early))
    ]
    assert masks[0] == masks[1]
    assert (single["top1"], single["test_loss"]) == (early["top1"], early["test_loss"])


def test_rounds_prune_convolutions_whatever_their_layout_in_memory(tmp_path):
    words = ["--data=digits", "--architecture=lenet5", "--iterations=4", "--experiment=gradual", "--prune_every=2"]
    row = call(tmp_path, *words, "--pruner=synflow", "--prune_iterations=3")
    assert row["kept_direct"] == row["target_kept"]


@pytest.mark.parametrize("pruner", ["snip", "random/erk", "magnitude/per_unit", "lamp"])
@pytest.mark.parametrize("pruning_type", ["direct", "effective"])
def test_any_criterion_drives_it(tmp_path, pruner, pruning_type):
    row = call(tmp_path, *GRADUAL[:-2], f"--pruner={pruner}", "--prune_every=20", f"--pruning_type={pruning_type}")
    assert row[f"kept_{pruning_type}"] >= 26_620 and (pruning_type == "effective" or row["kept_direct"] == 26_620)
    if pruner.endswith("per_unit") and pruning_type == "direct":
        masks = Masks.load(run_folder(tmp_path, row) / "masks.safetensors")
        counts = masks["fc1.weight"].sum(1)
        assert int(counts.max() - counts.min()) <= 1


def test_dense_prunes_nothing(tmp_path):
    assert main.main([*WORDS, "--experiment=gradual", "--pruner=dense,random", f"--out_path={tmp_path}"]) == 0
    (row,) = (row for _, row in rows_of(tmp_path).iterrows() if row["pruner"] == "dense")
    assert row["kept_direct"] == TOTAL and not (run_folder(tmp_path, row) / "sparsity.csv").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--train=0"], "--experiment=gradual changes masks during training, so it excludes --train=0"),
        (["--start_step=0.6"], "--start_step=0.6 is after --end_step=0.5"),
        (["--end_step=2"], "--end_step must be a fraction of the run, from 0 to 1, not 2"),
        (["--ramp=linear", "--end_step=0"], "--ramp=linear needs --start_step before --end_step, not both 0.0"),
        (["--end_step=0", "--prune_every=3"], "--prune_every has no effect with --start_step equal to --end_step"),
        (["--ramp=cosine"], "(valid: constant, cubic, full-cycle, half-cycle, linear)"),
        (["--ramp=linear", "--initial_sparsity=0.95"], "--initial_sparsity=0.95 is more than the target"),
        (["--ramp=linear", "--ramp_cycle=5"], "--ramp_cycle has no effect with --ramp=linear"),
        (["--ramp=constant", "--initial_sparsity=0.1"], "--initial_sparsity has no effect with --ramp=constant"),
        (["--reinitialize"], "--reinitialize has no effect with --experiment=gradual"),
        (["--pruner=random/uniform_plus", "--target_sparsity=0.9999"], "uniform_plus"),
        (["--levels=3"], "--levels has no effect with --experiment=gradual; it belongs to multishot"),
    ],
)
def test_mistakes(tmp_path, capsys, words, message):
    assert main.main([*GRADUAL, *words, f"--out_path={tmp_path}"]) == 2
    assert message in capsys.readouterr().err and not list(tmp_path.rglob("*.csv"))


def test_flags_of_experiments_have_no_effect_in_a_single_shot(tmp_path, capsys):
    assert main.main([*WORDS, "--prune_every=3", f"--out_path={tmp_path}"]) == 2
    expected = "--prune_every has no effect with --experiment=singleshot; it belongs to gradual and union-mask"
    assert expected in capsys.readouterr().err
