"""Conservation and the schedule of SynFlow: ratios against matrices of numbers, and golden facts 12 and 34."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from commands import execute, runs
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from Experiments.theory.runs.schedule_conservation import PrunedScores
from Layers import MaskedLinear, Masks
from Pruners.criteria.linearised import linearise
from Pruners.schedules.round_schedules import exponential, linear
from Pruners.schedules.rounds import budgets, prune_in_rounds
from Utils.config.target import Target
from Utils.results.summaries import read_summaries, read_table

WORDS = ["--experiment=schedule-conservation", "--data=digits"]
SCHEDULES = {"exponential": exponential, "linear": linear}


@st.composite
def perceptrons(draw: st.DrawFn) -> nn.Sequential:
    widths = draw(st.lists(st.integers(2, 7), min_size=3, max_size=5))
    torch.manual_seed(draw(st.integers(0, 10**6)))
    layers = [MaskedLinear(*pair, bias=False) for pair in pairwise(widths)]
    return nn.Sequential(*layers).double()


rounds_of = {
    "model": perceptrons(), "rounds": st.integers(1, 8), "schedule": st.sampled_from(list(SCHEDULES)),
    "sparsity": st.sampled_from(["0.3", "0.6", "0.9"]),
}  # fmt: skip


def pruned(model: nn.Module, budget: list[int]) -> pd.DataFrame:
    linearise(model)
    record = PrunedScores(model, (model[0].in_features,))
    prune_in_rounds(model, record.score, budget)
    return record.table()


@settings(max_examples=60, deadline=None)
@given(**rounds_of)
def test_ratios_equal_sums_of_path_products(model, rounds, schedule, sparsity):
    """The scores of each round by matrix products; the lowest are pruned; their sum is divided by that of all paths."""
    weights = [np.abs(layer.weight.detach().numpy()) for layer in model]
    budget = budgets(Target.of(sparsity), sum(weight.size for weight in weights), rounds, SCHEDULES[schedule])
    table = pruned(model, budget)
    assert table["round"].tolist() == list(range(1, rounds + 1)) and table["kept"].tolist() == budget
    kept = sum(weight.size for weight in weights)
    for row, target in zip(table.itertuples(), budget, strict=True):
        before, after = [np.ones(weights[0].shape[1])], [np.ones(weights[-1].shape[0])]
        for weight in weights:
            before.append(weight @ before[-1])
        for weight in reversed(weights):
            after.append(after[-1] @ weight)
        flow = before[-1].sum()
        flat = np.concatenate([
            np.where(weight > 0, out[:, None] * weight * into, np.inf).ravel()
            for weight, into, out in zip(weights, before[:-1], after[-2::-1], strict=True)
        ])  # fmt: skip
        lowest = np.argsort(flat, kind="stable")[: kept - target]
        assert row.pruned == kept - target
        if flow:
            assert row.ratio == pytest.approx(flat[lowest].sum() / flow, rel=1e-9)
        else:
            assert np.isnan(row.ratio)
        entries = np.concatenate([weight.ravel() for weight in weights])
        entries[lowest] = 0
        parts = np.split(entries, np.cumsum([weight.size for weight in weights])[:-1])
        weights = [part.reshape(weight.shape) for part, weight in zip(parts, weights, strict=True)]
        kept = target


@settings(max_examples=100, deadline=None)
@given(**rounds_of)
def test_rounds_below_a_cut_empty_no_layer(model, rounds, schedule, sparsity):
    """The theorem behind the figure: prune size < cut size in every round."""
    total = Masks.of(model).total
    table = pruned(model, budgets(Target.of(sparsity), total, rounds, SCHEDULES[schedule]))
    if (table["ratio"] < 1 - 1e-9).all():
        assert all(mask.any() for mask in Masks.of(model).values())


def rows_of(results: Path) -> pd.DataFrame:
    return read_summaries(results).rows.set_index(["schedule", "prune_iterations", "target_compression"]).sort_index()


def test_rounds_of_lenet_through_the_command_line(tmp_path):
    """Golden facts 12 and 34."""
    lists = ["--prune_iterations", "1", "100", "--schedule", "linear", "exponential", "--com_exp", "1", "2", "3"]
    assert execute(tmp_path, *WORDS, *lists, "--pruner=synflow") == 0
    rows = rows_of(tmp_path)
    assert len(rows) == 9, "a single round is the same with each schedule"
    once, many = rows.loc["exponential", 1], rows.loc["exponential", 100]
    assert (many["max_ratio"] < 1).all() and (many["emptied_layers"] == 0).all()
    assert once.loc[100, "emptied_layers"] > 0 and once.loc[100, "max_ratio"] > 1
    assert (rows.loc["linear", 100]["max_ratio"] > many["max_ratio"]).all()
    assert rows["kept_direct"].tolist() == rows["target_kept"].tolist()
    for _, row in rows.reset_index().iterrows():
        table = read_table(row["folder"], "rounds")
        assert table is not None and len(table) == row["prune_iterations"]
        assert table["ratio"].max() == row["max_ratio"] and table["kept"].iloc[-1] == row["kept_direct"]
        assert (table["kept"] + table["pruned"]).tolist() == [266_200, *table["kept"][:-1]]


@pytest.mark.slow
def test_published_rounds_of_vgg16(tmp_path):
    """Golden fact 34, on VGG-16: the published ratios are .670 and 5.84."""
    words = [*WORDS, "--architecture=lottery/vgg16"]
    assert execute(tmp_path, *words, "--com_exp=3") == 0
    assert execute(tmp_path, *words, "--com_exp=2", "--schedule=linear") == 0
    rows = rows_of(tmp_path)
    assert 0.3 < rows.loc[("exponential", 100, 1000), "max_ratio"] < 1
    assert 1 < rows.loc[("linear", 100, 100), "max_ratio"] < 8


def test_the_default_number_of_rounds_has_one_name():
    keys = {runs(*WORDS, *more)[0].key() for more in ([], ["--prune_iterations=100"], ["--pruner=synflow"])}
    assert len(keys) == 1
    assert len(runs(*WORDS, "--prune_iterations", "1", "10", "--schedule", "linear", "exponential")) == 3


@pytest.mark.parametrize(("words", "message"), [
    (["--pruner=snip"], "--pruner has no effect with --experiment=schedule-conservation, whose pruner is synflow"),
    (["--pruning_type=effective"], "--pruning_type has no effect with --experiment=schedule-conservation"),
    (["--prune_iterations=0"], "--prune_iterations"),
    (["--schedule=one-shot", "--prune_iterations=9"], "--schedule=one-shot is one round"),
    (["--schedule=logarithmic"], "unknown schedule 'logarithmic'"),
    (["--prune_examples=10"], "--prune_examples has no effect on pruner synflow, which scores no examples"),
    (["--epochs=2"], "--epochs has no effect with --experiment=schedule-conservation, which trains nothing"),
])  # fmt: skip
def test_mistakes_are_one_clear_line(tmp_path, capsys, words, message):
    assert execute(tmp_path / "out", *WORDS, *words) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not (tmp_path / "out").exists()
