"""Quotas through the command line: the published table, refused pruners, and the figure."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import execute
from conftest import shared

from Pruners.registry import style
from Utils.figures.theory.quotas import quotas as draw
from Utils.results.summaries import read_summaries

QUOTAS = ["--experiment=quotas", "--data=digits"]

LENET = {
    "random/uniform": {1: (23520, 3000, 100), 2: (2352, 300, 10), 3: (235.2, 30, 1)},
    "random/erk": {1: (18714.34, 6905.66, 1000), 2: (1810.29, 668.01, 183.70), 3: (181.03, 66.80, 18.37)},
    "random/igq": {1: (15157.82, 10520.31, 941.87), 2: (1086.68, 1053.39, 521.93), 3: (91.35, 91.11, 83.74)},
}
"""Numbers of kept weights of LeNet-300-100 on MNIST, worked out by hand, by exponent."""


def tables(results: Path) -> dict[str, pd.DataFrame]:
    rows = read_summaries(results).rows
    return {row["pruner"]: pd.read_csv(Path(row["folder"]) / "levels.csv") for _, row in rows.iterrows()}


def test_densities_are_the_published_ones(tmp_path):
    data = [f"--path_to_data={shared('data/mnist')}", "--data=mnist"]
    assert execute(tmp_path, "--experiment=quotas", *data, "--pruner", *LENET) == 0
    for pruner, table in tables(tmp_path).items():
        for exponent, counts in LENET[pruner].items():
            level = table[table["exponent"] == exponent]
            assert level["size"].tolist() == [235_200, 30_000, 1_000]
            assert level["kept_direct"].sum() == {1: 26_620, 2: 2_662, 3: 267}[exponent]
            # L layers that add up exactly are within (L + 1) / 2 weights of their quotas.
            np.testing.assert_allclose(level["kept_direct"], counts, atol=2)


def test_a_quota_that_does_not_suit_the_network_is_refused_before_anything_is_written(tmp_path, capsys):
    assert execute(tmp_path / "out", *QUOTAS, "--pruner", "random/erk", "random/uniform_plus") == 2
    error = capsys.readouterr().err
    assert "quota uniform_plus keeps the first convolution" in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").rglob("*.csv"))


def test_a_level_below_what_a_quota_fixes_is_refused(tmp_path, capsys):
    words = [*QUOTAS, "--architecture=lenet5", "--pruner=random/uniform_plus"]
    assert execute(tmp_path / "out", *words) == 2
    error = capsys.readouterr().err
    assert "may not be pruned" in error and "ask for at most that" in error and error.count("\n") == 1
    assert execute(tmp_path / "out", *words, "--exponents", "0.5", "1.5") == 0
    (table,) = tables(tmp_path / "out").values()
    first = table[table["layer"] == table["layer"].iloc[0]]
    assert (first["kept_direct"] == first["size"]).all() and len(first) == 2


def test_the_figure_shows_mean_densities_and_marks_empty_layers(tmp_path):
    words = ["--pruner", "random/igq", "mag", "--sample", "0", "1", "--exponents", "1", "2.5"]
    assert execute(tmp_path, *QUOTAS, *words) == 0
    rows = read_summaries(tmp_path).rows
    figure = draw(rows, style, "a title")
    assert [axes.get_title() for axes in figure.axes] == ["10x", "316.2x"]
    counts = {
        name: pd.concat([pd.read_csv(Path(folder) / "levels.csv") for folder in part["folder"]])
        for name, part in rows.groupby("pruner")
    }
    for axes, exponent in zip(figure.axes, (1.0, 2.5), strict=True):
        drawn = {line.get_gid(): np.asarray(line.get_ydata(), dtype=float) for line in axes.lines}
        for name, label in (("random/igq", "IGQ (random)"), ("magnitude", "Magnitude")):
            level = counts[name][counts[name]["exponent"] == exponent]
            means = level.groupby("layer", sort=False)[["kept_direct", "size"]].sum()
            expected = (means["kept_direct"] / means["size"]).to_numpy()
            np.testing.assert_allclose(drawn[label], np.where(expected == 0, np.nan, expected))
    assert "empty" in {line.get_gid() for line in figure.axes[1].lines}, "magnitude keeps nothing of the first layer"
    assert {"IGQ (random)", "Magnitude", "empty"} == {text.get_text() for text in figure.legends[0].get_texts()}
    assert figure.axes[0].get_yscale() == "log"


@pytest.mark.parametrize("words", [["--exponents=1", "--exponents=2"], ["--exponents", "2", "1"]])
def test_exponents_add_up_to_one_list(tmp_path, words):
    assert execute(tmp_path, *QUOTAS, "--pruner=random", *words) == 0
    (table,) = tables(tmp_path).values()
    assert table["exponent"].tolist() == [1, 1, 1, 2, 2, 2]
