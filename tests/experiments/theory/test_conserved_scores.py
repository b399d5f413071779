"""Conservation of scores by units and layers: golden facts 7 to 10, and both experiments through the command line."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from commands import execute, runs
from conftest import ROOT, make_batches
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import without_biases
from torch import nn

import Experiments.theory.runs.layer_conservation as by_layer
from Experiments.theory.runs.log_fit import log_fit
from Experiments.theory.runs.scored import double_batches, raw_scores, scored_trial
from Experiments.theory.runs.unit_conservation import conservation
from Layers import MaskedConv2d, MaskedLinear, Masks, add_masks, prunable
from Models import build
from Pruners.criteria.gradients import loss_gradients
from Pruners.criteria.grasp import TEMPERATURE, grasp
from Pruners.criteria.linearised import linearise
from Pruners.criteria.magnitude import magnitude
from Pruners.criteria.snip import snip
from Pruners.criteria.synflow import scores_and_flow
from Utils.config.settings import Settings
from Utils.connectivity.unit_sums import unit_sums
from Utils.results.summaries import read_summaries, read_table
from Utils.training.context import RunContext

SMALL = f"{ROOT / 'tests' / 'own' / 'small_network.py'}:small"
PRUNERS = ("random", "mag", "snip", "grasp", "synflow")


@st.composite
def chains(draw: st.DrawFn) -> nn.Module:
    """Two convolutions and two or three dense layers with rectifiers and no biases, of random widths."""
    channels = draw(st.lists(st.integers(1, 5), min_size=2, max_size=2))
    widths = [channels[1] * 4, *draw(st.lists(st.integers(1, 8), min_size=1, max_size=2)), 3]
    torch.manual_seed(draw(st.integers(0, 10**6)))
    layers: list[nn.Module] = [
        MaskedConv2d(2, channels[0], 3, padding=1, bias=False), nn.ReLU(), nn.MaxPool2d(2),
        MaskedConv2d(channels[0], channels[1], 1, bias=False), nn.ReLU(), nn.Flatten(),
    ]  # fmt: skip
    for inputs, outputs in pairwise(widths):
        layers += [MaskedLinear(inputs, outputs, bias=False), nn.ReLU()]
    return nn.Sequential(*layers[:-1]).double()


@settings(max_examples=40, deadline=None)
@given(model=chains())
def test_every_layer_has_the_score_of_the_flow(model):
    """Golden facts 7 and 10: each layer adds up to R, all layers to L R (Euler), so the slope is exactly 1."""
    linearise(model)
    scores, flow = scores_and_flow(model, (2, 4, 4))
    totals = [float(score.sum()) for score in scores.values()]
    np.testing.assert_allclose(totals, flow, rtol=1e-12)
    assert sum(totals) == pytest.approx(len(totals) * flow, rel=1e-12)
    table = by_layer.layer_scores(scores, Masks.of(model))
    assert table["size"].tolist() == [weight.numel() for weight, _ in prunable(model).values()]
    if table["size"].nunique() > 1:
        assert log_fit(table["inverse_size"], table["average_score"]) == pytest.approx((1, 1), abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(model=chains())
def test_grasp_is_conserved_up_to_squared_gradients(model):
    """Golden fact 9. w dL/dw is conserved at any weights, so its derivative along g is: w (H g) + g g."""
    batches = [(x.double(), y % 3) for x, y in make_batches((2, 4, 4), count=2, size=4)]
    scores = grasp(model, batches, torch.Generator())
    gradients = loss_gradients(model, batches, TEMPERATURE)
    joint = {name: scores[name] + gradients[name].square() for name in scores}
    sums = unit_sums(model, (2, 4, 4), joint)
    scale = max(float(value.abs().max()) for value in joint.values())
    np.testing.assert_allclose(sums.entering, sums.leaving, rtol=0, atol=1e-10 * scale)


def test_absolute_values_are_not_conserved():
    """Golden fact 9: SNIP and magnitude lose what SynFlow keeps."""
    model = build("lenet5", (3, 32, 32), 10, generator=torch.Generator().manual_seed(0)).double().eval()
    batches = [(x.double(), y) for x, y in make_batches((3, 32, 32), count=1)]
    add_masks(model, "bias")
    generator = torch.Generator()
    found = {}
    for criterion in (magnitude, snip):
        sums = unit_sums(model, (3, 32, 32), criterion(model, batches, generator))
        found[criterion.__name__] = conservation(sums.entering, sums.leaving)["max_relative_difference"]
    gradients = loss_gradients(model, batches)
    signed = {name: weight.detach() * gradients[name] for name, (weight, _) in prunable(model).items()}
    sums = unit_sums(model, (3, 32, 32), signed)
    found["signed"] = float(np.abs(sums.entering - sums.leaving).max() / np.abs(sums.entering).max())
    linearise(model)
    sums = unit_sums(model, (3, 32, 32), scores_and_flow(model, (3, 32, 32))[0])
    found["synflow"] = conservation(sums.entering, sums.leaving)["max_relative_difference"]
    assert found["magnitude"] > 0.5 and found["snip"] > 0.5
    assert found["signed"] < 1e-10 and found["synflow"] < 1e-12


@pytest.mark.parametrize("name", [
    "lenet300100", "lenet5", pytest.param("lottery/vgg16", marks=pytest.mark.slow),
])  # fmt: skip
def test_published_slopes(name):
    """Golden fact 10."""
    shape = (1, 28, 28) if name == "lenet300100" else (3, 32, 32)
    model = without_biases(build(name, shape, 10, generator=torch.Generator().manual_seed(0)))
    sizes = Masks.of(model)
    slopes = {
        "random": {one: torch.rand(mask.shape, dtype=torch.float64) for one, mask in sizes.items()},
        "magnitude": magnitude(model, (), None),
    }
    linearise(model)
    slopes["synflow"], _ = scores_and_flow(model, shape)
    found = {
        pruner: log_fit(table["inverse_size"], table["average_score"])
        for pruner, scores in slopes.items()
        if (table := by_layer.layer_scores(scores, sizes)) is not None
    }
    assert found["synflow"] == pytest.approx((1, 1), abs=1e-9)
    assert abs(found["random"].slope) < 0.02 and 0.1 < found["magnitude"].slope < 0.6


def test_a_fit_by_hand_and_its_limits():
    x = np.array([1e-300, 1e-8, 1e-2, 1.0, 1e250])
    slope, correlation = log_fit(x, 3e5 * x**0.25)
    assert (slope, correlation) == pytest.approx((0.25, 1))
    assert log_fit([1, 10, 100], [5, 0, 0.5]).slope == pytest.approx(-0.5)
    expected = np.polyfit(np.log([1, 2, 7]), np.log([3, 1, 2]), 1)[0]
    assert log_fit([1, 2, 7], [3, 1, 2]).slope == pytest.approx(expected)
    for x, y in (([1, 2], [0, 5]), ([], []), ([2, 2], [1, 3])):
        assert np.isnan(log_fit(x, y)).all()
    assert log_fit([1, 2], [3, 3]).slope == 0 and np.isnan(log_fit([1, 2], [3, 3]).correlation)


def test_the_correlation_by_hand_and_far_out_of_range():
    first, second = np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 3.0])
    expected = {"correlation": np.corrcoef(first, second)[0, 1], "max_relative_difference": 1 / 3}
    assert conservation(first, second) == pytest.approx(expected)
    assert conservation(first * 1e300, second * 1e300) == pytest.approx(expected)
    none = conservation(np.zeros(3), np.zeros(3))
    assert np.isnan(none["correlation"]) and none["max_relative_difference"] == 0


def resolved(*words: str) -> Settings:
    (run,) = runs(f"--architecture={SMALL}", "--image_size=8", *words)
    return run


def test_scores_are_those_of_one_round_of_the_unpruned_network_in_double_precision():
    for pruner in (*PRUNERS, "3sp", "l1", "snip_iterative", "force", "fisher"):
        trial = scored_trial(resolved("--experiment=layer-conservation", f"--pruner={pruner}"), RunContext())
        assert trial.data.train.images.dtype == torch.uint8
        scores = raw_scores(trial)
        assert all(score.dtype == torch.float64 for score in scores.values()), pruner
        assert scores.keys() == prunable(trial.model).keys()
        assert all(mask.all() for mask in Masks.of(trial.model).values())


def test_large_images_come_in_parts_that_change_no_score(monkeypatch):
    """Except where scores depend on the batches."""
    from Experiments.theory.runs import scored

    words = ["--experiment=layer-conservation", "--prune_examples=40", "--batch_size=20", "--prune_train_mode=0"]
    sizes = {}
    for pruner, network in (("snip", "fc"), ("grasp", "fc"), ("taylor", "fc"), ("snip", "lenet300100")):
        scores = []
        for at_once in (1 << 18, 1):
            monkeypatch.setattr(scored, "_AT_ONCE", at_once)
            (run,) = runs(f"--architecture={network}", "--data=digits", f"--pruner={pruner}", *words)
            trial = scored_trial(run, RunContext())
            sizes[pruner, network, at_once] = [len(images) for images, _ in double_batches(trial)]
            scores.append(raw_scores(trial))
        for name, score in scores[0].items():
            np.testing.assert_allclose(score, scores[1][name], rtol=1e-9, atol=1e-18, err_msg=pruner)
    assert sizes["snip", "fc", 1] == sizes["grasp", "fc", 1] == [1] * 40
    assert sizes["taylor", "fc", 1] == sizes["snip", "lenet300100", 1] == sizes["snip", "fc", 1 << 18] == [20, 20]


def table_of(results: Path, name: str) -> dict[tuple[str, int], pd.DataFrame]:
    rows = read_summaries(results).rows
    tables = {(row["pruner"], row["sample"]): read_table(row["folder"], name) for _, row in rows.iterrows()}
    return {run: table for run, table in tables.items() if table is not None}


def test_layers_through_the_command_line(tmp_path):
    words = ["--experiment=layer-conservation", "--data=digits", "--architecture=fc", "--prune_examples=50"]
    assert execute(tmp_path, *words, "--pruner", "snip", "grasp", "--sample", "0", "1") == 0
    assert execute(tmp_path, *words[:-1], "--pruner", "random", "mag", "synflow") == 0
    rows = read_summaries(tmp_path).rows.set_index(["pruner", "sample"])
    tables = table_of(tmp_path, "layer_scores")
    assert tables.keys() == {(pruner, 0) for pruner in ("random", "magnitude", "snip", "grasp", "synflow")} | {
        ("snip", 1), ("grasp", 1)
    }  # fmt: skip
    model = build("fc", (1, 28, 28), 10)
    sizes = [
        sum(parameter.numel() for parameter in module.parameters())
        for module in model.modules() if isinstance(module, nn.Linear)
    ]  # fmt: skip
    for run, table in tables.items():
        assert table["size"].tolist() == sizes
        np.testing.assert_allclose(table["average_score"] * table["size"], table["score"], rtol=1e-12)
        np.testing.assert_allclose(table["inverse_size"], 1 / table["size"])
        slope, _ = np.polyfit(np.log(table["inverse_size"]), np.log(table["average_score"]), 1)
        assert rows.loc[run, "slope"] == pytest.approx(slope)
    assert rows.loc[("random", 0), "slope"] == pytest.approx(0, abs=0.01)
    assert not tables["snip", 0].equals(tables["snip", 1])


def test_units_through_the_command_line(tmp_path):
    words = ["--experiment=unit-conservation", "--data=digits", "--architecture=lenet300100"]
    assert execute(tmp_path, *words, "--pruner", "random", "mag", "snip", "synflow") == 0
    rows = read_summaries(tmp_path).rows.set_index("pruner")
    for (pruner, _), table in table_of(tmp_path, "unit_scores").items():
        assert table["layer"].value_counts().to_dict() == {"fc1": 300, "fc2": 100}
        expected = np.corrcoef(table["score_in"], table["score_out"])[0, 1]
        assert rows.loc[pruner, "correlation"] == pytest.approx(expected, abs=1e-12)
    assert rows.loc["synflow", "correlation"] > 1 - 1e-12 and rows.loc["synflow", "max_relative_difference"] < 1e-12
    assert (rows.loc[["snip", "magnitude", "random"], "max_relative_difference"] > 0.5).all()
    assert (rows["units"] == 400).all() and not list(tmp_path.rglob("weights.safetensors"))


def test_pruned_entries_do_not_count(tmp_path):
    model = build(SMALL, (1, 8, 8), 10)
    generator = torch.Generator().manual_seed(1)
    masks = Masks({
        name: torch.rand(mask.shape, generator=generator) < 0.5 for name, (_, mask) in prunable(model).items()
    })  # fmt: skip
    masks.save(tmp_path / "masks.safetensors")
    words = ["--data=digits", f"--architecture={SMALL}", "--image_size=8", "--experiment=layer-conservation"]
    for pruner in ("mag", "random", "3sp"):
        results = tmp_path / pruner
        assert execute(results, *words, f"--pruner={pruner}", f"--masks_from={tmp_path / 'masks.safetensors'}") == 0
        (table,) = table_of(results, "layer_scores").values()
        biases = {name.removesuffix(".bias"): len(value) for name, value in model.named_parameters() if "bias" in name}
        kept = {name.removesuffix(".weight"): int(mask.sum()) for name, mask in masks.items()}
        assert dict(zip(table["layer"], table["size"], strict=True)) == {
            layer: count + biases.get(layer, 0) for layer, count in kept.items()
        }
        if pruner == "random":
            np.testing.assert_allclose(table["average_score"], 0.5, atol=0.15)


@pytest.mark.parametrize("experiment", ["unit-conservation", "layer-conservation"])
@pytest.mark.parametrize(("words", "message"), [
    (["--pruner=dense"], "needs scores, but --pruner=dense gives none; name a pruner"),
    (["--pruner=snip/erk"], "compares the scores that a criterion gives, by itself; leave out the quota erk: write "
     "--pruner=snip"),
    (["--pruner=random", "--prune_examples=10"], "--prune_examples has no effect on pruner random"),
    (["--target_sparsity=0.9"], "--target_sparsity has no effect with --experiment={}, which prunes nothing"),
    (["--com_exp=2"], "--com_exp has no effect with --experiment={}, which prunes nothing"),
    (["--prune_bias"], "--prune_bias has no effect with --experiment={}, which scores all layers and biases"),
    (["--epochs=3"], "--epochs has no effect with --experiment={}, which trains nothing"),
    (["--train"], "--train has no effect with --experiment={}, which trains nothing"),
    (["--pruner=synflow", "--mean=0.5"], "--mean has no effect on pruner synflow, which scores no examples"),
    (["--pruner=gras"], "unknown pruner 'gras'"),
])  # fmt: skip
def test_mistakes_are_one_clear_line(tmp_path, capsys, experiment, words, message):
    assert execute(tmp_path / "out", f"--experiment={experiment}", "--data=digits", *words) == 2
    error = capsys.readouterr().err
    assert message.format(experiment) in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


def test_a_network_without_hidden_units_is_a_failed_run_with_its_reason(tmp_path, capsys):
    (tmp_path / "flat.py").write_text(
        "from torch import nn\n\ndef flat():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    words = ["--experiment=unit-conservation", "--data=digits", "--image_size=8", "--pruner=mag"]
    assert execute(tmp_path / "out", f"--architecture={tmp_path / 'flat.py'}:flat", *words) != 0
    assert "has no hidden units" in "".join(capsys.readouterr())


def test_magnitude_has_one_spelling():
    keys = {resolved("--experiment=unit-conservation", f"--pruner={name}").key() for name in ("mag", "magnitude")}
    assert len(keys) == 1
