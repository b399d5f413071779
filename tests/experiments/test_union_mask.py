"""Masks of several cycles, united: the invariants of the method, and a fair comparison."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from commands import runs
from conftest import rows_of, run_folder
from hypothesis import given
from hypothesis import strategies as st

import Experiments.runs.union_mask as union_mask
import main
from Experiments.runs.union_mask import cyclic_recipe
from Layers import Masks
from Utils.training.lr_schedules import learning_rate

WORDS = ["--experiment=union-mask", "--data=digits", "--iterations=100", "--evaluate_every=25", "--target_sparsity=0.9",
         "--pruner=magnitude", "--prune_every=4"]  # fmt: skip
TOTAL = 266_200


@pytest.fixture
def cycles(monkeypatch) -> list:
    """The cycles of each run."""
    seen, original = [], union_mask.Cycles

    def kept(ongoing):
        seen.append(original(ongoing))
        return seen[-1]

    monkeypatch.setattr(union_mask, "Cycles", kept)
    return seen


def call(tmp_path: Path, *words: str) -> pd.DataFrame:
    """Run; all rows."""
    assert main.main([*WORDS, *words, f"--out_path={tmp_path}"]) == 0
    return rows_of(tmp_path)


@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=5))
def test_a_union_by_products_is_a_logical_or(rows):
    """Golden fact 29: 1 - (1 - u)(1 - m)."""
    united, product = Masks({"w": torch.tensor(rows[0])}), torch.tensor(rows[0]).float()
    for row in rows[1:]:
        united = united | {"w": torch.tensor(row)}
        product = 1 - (1 - product) * (1 - torch.tensor(row).float())
    assert torch.equal(united["w"], product == 1)


def test_invariants_of_the_union(tmp_path, cycles):
    (_, row), = call(tmp_path, "--cycles=5").iterrows()  # fmt: skip
    (found,) = cycles
    assert found.bounds == [0, 19, 38, 57, 76, 95]
    assert len(found.found) == 4 and all(masks.kept == 26_620 for masks in found.found)
    for masks in found.found:
        assert (masks - found.united).kept == 0
    assert 26_620 <= found.united.kept <= min(TOTAL, 4 * 26_620)
    expected = found.found[0] | found.found[1] | found.found[2] | found.found[3]
    assert found.united == expected
    final = Masks.load(run_folder(tmp_path, row) / "masks.safetensors")
    assert (final - found.united).kept == 0 and final.kept == row["kept_direct"] == row["target_kept"] == 26_620
    table = pd.read_csv(run_folder(tmp_path, row) / "sparsity.csv")
    ends = table.groupby("iteration")["kept_direct"].agg(["first", "last"])
    assert ends.loc[[19, 38, 57], "first"].tolist() == [26_620] * 3, "each cycle ends at the target"
    assert ends.loc[[19, 38, 57], "last"].tolist() == [TOTAL] * 3, "and all weights return"
    assert ends.loc[76, "last"] == found.united.kept and ends.loc[95, "last"] == 26_620
    last = table[table["iteration"] >= 76]["kept_direct"][1:]
    assert (last.diff().dropna() <= 0).all(), "the last cycle prunes inside the union only"
    counted = pd.read_csv(run_folder(tmp_path, row) / "cycles.csv")
    assert (
        counted["union_kept"].tolist()[-1] == found.united.kept and (counted["union_kept"].diff().dropna() >= 0).all()
    )
    overlaps = pd.read_csv(run_folder(tmp_path, row) / "overlaps.csv").set_index(["cycle", "other"])["overlap"]
    assert overlaps[2, 3] == overlaps[3, 2] == found.found[1].overlap(found.found[2]) and overlaps[4, 4] == 1


def test_arms_differ_in_what_they_say_only(tmp_path):
    rows = call(tmp_path, "--arm", "union", "vanilla", "vanilla-cyclic", "--cycles=4").set_index("arm")
    assert sorted(rows.index) == ["union", "vanilla", "vanilla-cyclic"]
    assert (rows["kept_direct"] == 26_620).all() and (rows["iterations"] == 100).all()
    tables = {arm: pd.read_csv(run_folder(tmp_path, row) / "training.csv") for arm, row in rows.iterrows()}
    assert tables["union"]["lr"].tolist() == tables["vanilla-cyclic"]["lr"].tolist()
    assert tables["vanilla"]["lr"].tolist() == [0.1] * 5 != tables["union"]["lr"].tolist()
    ends = {
        arm: pd.read_csv(run_folder(tmp_path, row) / "sparsity.csv")["iteration"].max() for arm, row in rows.iterrows()
    }
    assert ends == {"union": 95, "vanilla": 50, "vanilla-cyclic": 95}
    first = {table["test_loss"].iloc[0] for table in tables.values()}
    assert len(first) == 1, "the same initial weights"


def test_rates_rise_in_one_cycle_of_pruning_and_fall_in_the_next():
    """As published: cycles of 5,000 steps up to 0.95 of 100,000, so that the run starts and ends at a rate of 0."""
    words = "--experiment=union-mask --cycles=19 --iterations=100000"
    published, default = (cyclic_recipe(runs(*line.split())[0]) for line in (words, "--experiment=union-mask"))
    rates = [learning_rate(published, step) for step in (0, 5_000, 10_000, 95_000, 97_500, 100_000)]
    assert published.lr_cycle == (5_000, 5_000) and rates == pytest.approx([0, 0.1, 0, 0.1, 0.05, 0])
    assert default.lr_cycle == (142, 142), "0.95 of 1,500 steps in ten cycles"
    (union,) = runs("--experiment=union-mask", "--architecture=union/resnet32", data="cifar10")
    assert (union.recipe.iterations, cyclic_recipe(union).lr_cycle) == (78_000, (7_410, 7_410))


def test_filters_keep_the_same_count(tmp_path):
    """Golden fact 29: in weight mode the original balances filters."""
    rows = call(tmp_path, "--cycles=3", "--pruner=magnitude/per_unit")
    (row,) = (row for _, row in rows.iterrows() if row["pruner"] == "magnitude/per_unit")
    counts = Masks.load(run_folder(tmp_path, row) / "masks.safetensors")["fc1.weight"].sum(1)
    assert int(counts.max() - counts.min()) <= 1


def test_units_of_the_union_reach_their_target(tmp_path):
    words = ["--experiment=union-mask", "--data=digits", "--pruner=l2", "--prune_unit=unit", "--target_sparsity=0.5"]
    assert main.main([*words, "--cycles=3", "--iterations=60", "--prune_every=5", f"--out_path={tmp_path}"]) == 0
    (row,) = (row for _, row in rows_of(tmp_path).iterrows())
    masks = Masks.load(run_folder(tmp_path, row) / "masks.safetensors")
    assert sum(int(masks[f"fc{number}.weight"].any(1).sum()) for number in (1, 2)) == 200 == row["target_kept"]


def test_rates_of_the_dense_network_are_those_of_the_arm(tmp_path):
    rows = call(tmp_path, "--pruner=dense", "--end_step=0.5").set_index("pruner")
    rates = [pd.read_csv(run_folder(tmp_path, row) / "training.csv")["lr"].tolist() for _, row in rows.iterrows()]
    assert len(rates) == 2 and rates[0] == rates[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--train=0"], "--experiment=union-mask changes masks during training"),
        (["--arm=onion"], "did you mean 'union'? (valid: union, vanilla, vanilla-cyclic)"),
        (["--cycles=1"], "--cycles must be at least 2"),
        (["--arm=vanilla", "--start_step=0.6"], "--start_step=0.6 is after --end_step=0.5"),
        (["--start_step=0.96"], "--start_step=0.96 is after --end_step=0.95"),
        (["--lr_schedule=cosine"], "--lr_schedule has no effect with --arm=union, which has cyclic learning rates"),
        (["--lr_drops=10"], "--lr_drops has no effect with --arm=union"),
        (["--arm=vanilla", "--cycles=4"], "--cycles has no effect with --arm=vanilla"),
        (["--carry_mask"], "--carry_mask has no effect with --experiment=union-mask; it belongs to gradual"),
    ],
)
def test_mistakes(tmp_path, capsys, words, message):
    assert main.main([*WORDS, *words, f"--out_path={tmp_path}"]) == 2
    assert message in capsys.readouterr().err and not list(tmp_path.rglob("*.csv"))
