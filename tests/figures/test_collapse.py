"""Accuracy up to layer collapse: curves, the maximal compression and the first empty layer, from real runs."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

import main
import visualization
from Experiments.planning.choices import figures_of
from Experiments.registry import EXPERIMENTS
from Pruners.registry import style
from Utils.figures.look import LonelyPointError, NothingToDrawError
from Utils.figures.theory.collapse import collapse
from Utils.results.summaries import read_summaries

EXPONENTS = ("0.5", "1", "2.5", "3.5")


@pytest.fixture(scope="module")
def campaign(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("collapse")
    words = ["--pruner", "dense", "mag", "random/igq", "--com_exp", *EXPONENTS, "--sample", "0", "1"]
    assert main.main(["--data=digits", "--train=0", f"--out_path={folder}", *words]) == 0
    return folder


@pytest.fixture
def rows(campaign) -> pd.DataFrame:
    return read_summaries(campaign).rows


def test_curves_are_means_against_direct_compression(rows):
    figure = collapse(rows, style, "a title")
    (axes,) = figure.axes
    drawn = {line.get_gid(): line.get_xydata() for line in axes.lines}
    for name, label in (("mag", "Magnitude at start"), ("random/igq", "IGQ (random)")):
        part = rows[rows["pruner"] == name]
        top1 = part["top1"].where(~part["collapsed"].astype(bool), part["chance"])
        means = top1.groupby(part["direct_compression"]).mean()
        np.testing.assert_allclose(drawn[f"{label}|direct"], np.column_stack([means.index, means]))
    assert drawn["maximal"][0, 0] == 266_200 / 3 and axes.get_xlim()[1] > 266_200 / 3
    empty = rows[(rows["pruner"] == "mag") & (rows["empty_layers"] > 0)]["direct_compression"].min()
    rings = {line.get_color(): line.get_xydata()[0, 0] for line in axes.lines if line.get_gid() == "empty"}
    assert rings[style("mag")[1]] == pytest.approx(empty)
    kept = rows[(rows["pruner"] == "random/igq") & (rows["empty_layers"] > 0)]["direct_compression"]
    assert (style("random/igq")[1] in rings) == bool(len(kept))
    labels = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {"maximal compression", "first empty layer", "IGQ (random)"} <= labels


def test_without_an_empty_layer_there_is_no_ring(rows):
    dense_enough = rows[(rows["empty_layers"] == 0) & (rows["pruner"] == "random/igq")]
    figure = collapse(dense_enough, style)
    assert not [line for line in figure.axes[0].lines if line.get_gid() == "empty"]
    assert "first empty layer" not in {text.get_text() for text in figure.legends[0].get_texts()}


def test_it_needs_pruned_networks_at_two_compressions(rows):
    with pytest.raises(LonelyPointError, match="single point"):
        collapse(rows[(rows["pruner"] == "mag") & np.isclose(rows["target_compression"], 10)], style)
    with pytest.raises(NothingToDrawError, match=r"no layers\.csv"):
        collapse(rows[rows["pruner"] == "dense"], style)


def test_the_command_draws_it_for_single_shot_results(campaign, capsys):
    assert visualization.main([f"--out_path={campaign}", "--plot_type=collapse"]) == 0
    png, _ = capsys.readouterr().out.split()
    assert png.endswith("direct_collapse.png") and matplotlib.image.imread(png).shape[1] > 1000
    assert [name for name in EXPERIMENTS if "collapse" in figures_of(name)] == [
        name for name, experiment in EXPERIMENTS.items() if experiment.figures is None
    ]
