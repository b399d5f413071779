"""Figures of outcomes: curves, bands and points where the tables say, and files that can be looked at."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from studies import drawn, legend, small_and_large

from Utils.figures.comparison.accuracy_curves import accuracy_curves
from Utils.figures.comparison.class_change import class_change
from Utils.figures.comparison.linear_paths import linear_paths
from Utils.figures.comparison.reliability import reliability
from Utils.figures.look import NothingToDrawError, save_figure

KINDS = {
    "accuracy-curves": accuracy_curves, "reliability": reliability, "linear-paths": linear_paths,
    "class-change": class_change,
}  # fmt: skip
GROUPS = ("dense", "snip 0.02", "synflow 0.02")


def style(name: str) -> tuple[str, str, str]:
    return name, "#0072b2", "o"


def curves() -> pd.DataFrame:
    steps = np.arange(0, 1001, 100)
    return pd.concat(
        pd.DataFrame({"group": group, "iteration": steps, "epoch": steps / 100, "metric": metric, "n": 3,
                      "mean": (0.9 - place / 10) * (1 - np.exp(-steps / 200)) + 0.1 * (metric == "test_loss"),
                      "sd": 0.02 + place / 100})
        for place, group in enumerate(GROUPS) for metric in ("top1", "test_loss", "train_loss")
    )  # fmt: skip


def bins() -> pd.DataFrame:
    lower = np.arange(10) / 10
    return pd.concat(
        pd.DataFrame({"network": f"{group} s{sample}", "group": group, "sample": sample, "bin": range(10),
                      "lower": lower, "upper": lower + 0.1, "count": np.where(np.arange(10) < 2, 0, 10 + sample),
                      "confidence": lower + 0.05, "accuracy": (lower + 0.05) ** (1 + place) + sample / 50})
        for place, group in enumerate(GROUPS) for sample in range(2)
    )  # fmt: skip


def paths() -> pd.DataFrame:
    alphas = np.linspace(0, 1, 11)
    return pd.concat(
        pd.DataFrame({"first": f"{group} s0", "second": f"{group} s{sample}", "first_group": group,
                      "second_group": group, "alignment": alignment, "alpha": alphas,
                      "test_loss": 0.1 + height * alphas * (1 - alphas) * (1 + sample / 10), "train_loss": 0.1,
                      "top1": 0.9 - height * alphas * (1 - alphas) / 9, "train_top1": 1.0})
        for place, group in enumerate(GROUPS[1:]) for sample in (1, 2)
        for alignment, height in (("none", 8 + place), ("matched", 2 + place))
    )  # fmt: skip


def classes(groups=GROUPS, count: int = 10) -> pd.DataFrame:
    numbers = np.arange(count)
    return pd.concat(
        pd.DataFrame({"network": f"{group} s{sample}", "group": group, "sample": sample, "class": numbers,
                      "is_dense": group == "dense",
                      "count": 100, "accuracy": 0.9, "change": -place * (numbers % 4) / 50 + (sample - 1) / 100})
        for place, group in enumerate(groups) for sample in range(3)
    )  # fmt: skip


TABLES = {
    "accuracy-curves": ("curves", curves()), "reliability": ("reliability", bins()), "linear-paths": ("paths", paths()),
    "class-change": ("class_accuracy", classes()),
}  # fmt: skip


@pytest.fixture
def rows(tmp_path) -> pd.DataFrame:
    """A study with every table, and a smaller one, which is not drawn."""
    return small_and_large(tmp_path, dict(TABLES.values()))


def test_bands_reach_one_standard_deviation(rows):
    figure = accuracy_curves(rows, style, "a title")
    above, below = figure.axes
    table = TABLES["accuracy-curves"][1]
    for place, group in enumerate(GROUPS):
        part = table[(table["group"] == group) & (table["metric"] == "top1")]
        np.testing.assert_allclose(drawn(above)[f"{group}|top1"], part[["iteration", "mean"]])
        low, high = above.collections[place].get_paths()[0].get_extents().get_points()[:, 1]
        assert low == pytest.approx((part["mean"] - part["sd"]).min())
        assert high == pytest.approx((part["mean"] + part["sd"]).max())
    assert f"{GROUPS[0]}|test_loss" in drawn(below) and legend(figure) == list(GROUPS)


def test_reliability_pools_samples_and_leaves_empty_bins_out(rows):
    figure = reliability(rows, style, "a title")
    above, below = figure.axes
    table = TABLES["reliability"][1]
    for group in GROUPS:
        part = table[(table["group"] == group) & (table["count"] > 0)]
        expected = [
            (float((one["confidence"] * one["count"]).sum()), float((one["accuracy"] * one["count"]).sum()))
            for _, one in part.groupby("bin")
        ]
        np.testing.assert_allclose(drawn(above)[f"{group}|reliability"], np.array(expected) / 21)
        np.testing.assert_allclose(drawn(below)[f"{group}|share"][:, 1], 1 / 8)
    assert legend(figure) == [*GROUPS, "calibrated"]


def test_paths_are_means_over_pairs(rows):
    figure = linear_paths(rows, style, "a title")
    above, below = figure.axes
    table = TABLES["linear-paths"][1]
    for group in GROUPS[1:]:
        for alignment in ("none", "matched"):
            part = table[(table["first_group"] == group) & (table["alignment"] == alignment)]
            mean = part.groupby("alpha")[["test_loss", "top1"]].mean()
            found = drawn(above)[f"{group}|{alignment}|test_loss"]
            np.testing.assert_allclose(found, np.column_stack([mean.index, mean["test_loss"]]))
            error = drawn(below)[f"{group}|{alignment}|error"][:, 1]
            np.testing.assert_allclose(error, 1 - mean["top1"])
    assert legend(figure) == [
        *GROUPS[1:], "as they are", "after matching of units",
    ]  # fmt: skip


def test_changes_are_drawn_for_pruned_groups_in_the_order_of_classes(rows):
    figure = class_change(rows, style, "a title")
    (axes,) = figure.axes
    found, table = drawn(axes), TABLES["class-change"][1]
    for group in GROUPS[1:]:
        mean = table[table["group"] == group].groupby("class")["change"].mean()
        np.testing.assert_allclose(found[f"{group}|change"][:, 1], mean, atol=1e-12)
        assert (np.diff(found[f"{group}|change"][:, 0]) > 0).all()
    assert legend(figure) == list(GROUPS[1:]) and len(axes.get_xticklabels()) == 10


def test_of_many_classes_those_that_change_most_are_drawn(rows):
    folder = Path(rows["folder"].iloc[1])
    classes(count=100).assign(change=lambda table: table["change"] - (table["class"] == 77)).to_csv(
        folder / "class_accuracy.csv", index=False
    )
    (axes,) = class_change(rows, style).axes
    labels = [text.get_text() for text in axes.get_xticklabels()]
    assert len(labels) == 20 and "77" in labels and labels == sorted(labels, key=int)


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_table_there_is_nothing_to_draw(tmp_path, kind):
    (tmp_path / "run.json").write_text('{"status": "complete"}')
    empty = pd.DataFrame({"folder": [str(tmp_path)]})
    with pytest.raises(NothingToDrawError):
        KINDS[kind](empty, style)
    classes(GROUPS[:1]).to_csv(tmp_path / "class_accuracy.csv", index=False)
    with pytest.raises(NothingToDrawError):
        KINDS[kind](empty, style)


@pytest.mark.parametrize("kind", KINDS)
def test_figures_can_be_saved(rows, tmp_path, kind):
    path, _ = save_figure(KINDS[kind](rows, style, "Compare: FC on MNIST"), tmp_path / kind)
    image = matplotlib.image.imread(path)
    assert min(image.shape[:2]) > 500 and (image[:, :, :3] < 0.5).any()
