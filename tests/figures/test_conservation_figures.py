"""Figures of conservation: points, slopes and lines where the tables say; drawn and saved from real runs."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from commands import execute

import visualization
from Experiments.planning.choices import figures_of
from Pruners.registry import style
from Utils.figures.look import NothingToDrawError
from Utils.figures.theory.imp_conservation import imp_conservation
from Utils.figures.theory.layer_conservation import layer_conservation
from Utils.figures.theory.schedule_conservation import schedule_conservation
from Utils.figures.theory.unit_conservation import unit_conservation
from Utils.results.summaries import read_summaries, read_table

KINDS = {
    "unit-conservation": unit_conservation, "layer-conservation": layer_conservation,
    "imp-conservation": imp_conservation, "schedule-conservation": schedule_conservation,
}  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("conservation")
    scores = ["--sample", "0", "1", "--pruner", "snip", "grasp"]
    lists = ["--prune_iterations", "1", "4", "--schedule", "linear", "exponential", "--com_exp", "1", "2"]
    assert execute(folder, "--data=digits", "--experiment=unit-conservation", *scores) == 0
    assert execute(folder, "--data=digits", "--experiment=layer-conservation", *scores, "synflow") == 0
    init = ["--weight_init", "unchanged", "standard", "--iterations=4", "--evaluate_every=2"]
    assert execute(folder, "--data=digits", "--experiment=imp-conservation", *init) == 0
    assert execute(folder, "--data=digits", "--experiment=schedule-conservation", *lists) == 0
    return folder


def rows_of(results: Path, experiment: str) -> pd.DataFrame:
    rows = read_summaries(results).rows
    return rows[rows["experiment"] == experiment]


def drawn(axes) -> dict[str, np.ndarray]:
    return {line.get_gid(): np.asarray(line.get_xydata()) for line in axes.lines}


def legend(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_layers_are_drawn_relative_to_their_geometric_mean(results):
    rows = rows_of(results, "layer-conservation")
    figure = layer_conservation(rows, style, "a title")
    (axes,) = figure.axes
    for pruner, label in (("snip", "SNIP"), ("synflow", "SynFlow")):
        part = rows[rows["pruner"] == pruner]
        tables = [read_table(folder, "layer_scores") for folder in part["folder"]]
        relative = [np.log(table["average_score"]) - np.log(table["average_score"]).mean() for table in tables]
        expected = np.column_stack([tables[0]["inverse_size"], np.exp(np.mean(relative, axis=0))])
        np.testing.assert_allclose(drawn(axes)[f"{label}|scores"], expected[expected[:, 0].argsort()])
        assert f"{label}, slope {part['slope'].mean():.3f}" in legend(figure)
    assert "SynFlow, slope 1.000" in legend(figure) and axes.get_xscale() == axes.get_yscale() == "log"
    line = drawn(axes)["equal"]
    assert np.diff(np.log(line[:, 1])) == pytest.approx(np.diff(np.log(line[:, 0])))
    on_line = drawn(axes)["SynFlow|scores"]
    np.testing.assert_allclose(on_line[:, 1] / on_line[:, 0], line[0, 1] / line[0, 0], rtol=1e-6)


def test_units_have_a_panel_per_pruner_and_all_signs(results):
    rows = rows_of(results, "unit-conservation")
    figure = unit_conservation(rows, style, "a title", ["snip", "grasp"])
    for axes, (pruner, label, scale) in zip(
        figure.axes, (("snip", "SNIP", "log"), ("grasp", "GraSP", "symlog")), strict=True
    ):
        part = rows[rows["pruner"] == pruner]
        tables = pd.concat([read_table(folder, "unit_scores") for folder in part["folder"]])
        points = tables[["score_in", "score_out"]].to_numpy()
        points = points[(points != 0).any(1)]
        np.testing.assert_array_equal(drawn(axes)[f"{label}|units"], points)
        assert axes.get_title() == f"{label}, r = {part['correlation'].mean():.4g}" and len(points) > 700
        assert axes.get_xscale() == axes.get_yscale() == scale and axes.get_xlim() == axes.get_ylim()
        low, high = axes.get_xlim()
        assert (points[points != 0] > low).all() and (points < high).all()
    assert all(line.get_rasterized() for axes in figure.axes for line in axes.lines if "units" in line.get_gid())


def test_squared_weights_are_coloured_by_epoch(results):
    rows = rows_of(results, "imp-conservation")
    figure = imp_conservation(rows, style, "a title")
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert len(panels) == 2 and figure.axes[-1].get_ylabel() == "Epoch"
    for axes, (_, row) in zip(
        panels, rows.sort_values("settings", key=lambda text: text.str.len()).iterrows(), strict=True
    ):
        table = read_table(row["folder"], "layer_weights")
        assert f"slope {row['first_slope']:.3g} → {row['last_slope']:.3g}" in axes.get_title()
        (points,) = axes.collections
        expected = table.sort_values(["epoch", "layer"])
        np.testing.assert_allclose(points.get_offsets(), expected[["inverse_size", "mean_square"]])
        np.testing.assert_allclose(points.get_array(), expected["epoch"])
        first, last = points.to_rgba(points.get_array())[[0, -1], :3]
        assert first[0] < 0.1 and last[0] > 0.9, "from blue to pink"
        low, high = axes.get_ylim()
        assert (table["mean_square"] > low).all() and (table["mean_square"] < high).all()


def test_ratios_have_a_panel_per_schedule_and_share_the_single_round(results):
    rows = rows_of(results, "schedule-conservation")
    figure = schedule_conservation(rows, style, "a title")
    assert [axes.get_title() for axes in figure.axes] == ["Exponential", "Linear"]
    for axes in figure.axes:
        schedule = axes.get_title().lower()
        for level in (10, 100):
            part = rows[(rows["target_compression"] == level)].sort_values("prune_iterations")
            part = part[(part["prune_iterations"] == 1) | (part["schedule"] == schedule)]
            assert part["prune_iterations"].tolist() == [1, 4]
            line = drawn(axes)[f"{schedule}|SynFlow|{level}"]
            np.testing.assert_allclose(line, part[["prune_iterations", "max_ratio"]])
        assert drawn(axes)["cut"][:, 1].tolist() == [1, 1]
        low, high = axes.get_ylim()
        assert low < rows["max_ratio"].min() and high > rows["max_ratio"].max() and low < 1 < high
    assert legend(figure) == ["compression 10x", "compression 100x", "score of a cut"]


def test_a_schedule_alone_and_a_single_round_alone_can_be_drawn(results):
    rows = rows_of(results, "schedule-conservation")
    for part, title in (
        (rows[rows["prune_iterations"] == 1], "One round"),
        (rows[rows["schedule"] == "linear"], "Linear"),
    ):
        (axes,) = schedule_conservation(part, style).axes
        assert axes.get_title() == title


@pytest.mark.parametrize("kind", KINDS)
def test_figures_are_saved_for_their_experiment_alone(results, kind, capsys):
    assert figures_of(kind) == [kind]
    assert visualization.main([f"--out_path={results}", f"--experiment={kind}"]) == 0
    (path,) = (Path(line) for line in capsys.readouterr().out.split() if line.endswith(".png"))
    image = matplotlib.image.imread(path)
    assert kind in path.name and min(image.shape[:2]) > 500 and (image[:, :, :3] < 0.5).any()


@pytest.mark.parametrize("kind", KINDS)
def test_without_their_table_there_is_nothing_to_draw(results, kind):
    other = rows_of(results, "imp-conservation" if kind != "imp-conservation" else "unit-conservation")
    columns = [name for name in other if name not in ("max_ratio", "schedule", "prune_iterations")]
    with pytest.raises(NothingToDrawError):
        KINDS[kind](other[columns], style)


def test_titles_name_no_target_where_there_is_none(results):
    title = visualization.title(rows_of(results, "unit-conservation"))
    assert title == "Unit conservation: LeNet-300-100 on digits"
