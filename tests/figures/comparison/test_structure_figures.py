"""Figures of structure: lines, violins and images where the tables say, and files that can be looked at."""

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from studies import drawn, legend, small_and_large

from Experiments.comparison.figure_kinds import FIGURE_KINDS
from Utils.figures.comparison.common_kernels import common_kernels
from Utils.figures.comparison.layer_densities import layer_densities
from Utils.figures.comparison.position_maps import input_maps, kernel_maps
from Utils.figures.comparison.score_histograms import score_histograms
from Utils.figures.comparison.structure_violins import gaps, kernel_scores, positions, runs, sign_ratios
from Utils.figures.look import NothingToDrawError, save_figure

GROUPS = ("gem-miner 0.1", "synflow 0.05", "random 0.02")
LAYERS = [f"layers.{number}" for number in range(20)]
UNITS = {"weight-gaps": (gaps, "gap_mean"), "weight-runs": (runs, "runs"),
         "kernel-scores": (kernel_scores, "filled_graph_score_4")}  # fmt: skip
KINDS = {
    "group-densities": layer_densities, **{name: figure for name, (figure, _) in UNITS.items()},
    "weight-positions": positions, "sign-ratios": sign_ratios, "common-kernels": common_kernels,
    "input-maps": input_maps, "kernel-maps": kernel_maps, "score-histograms": score_histograms,
}  # fmt: skip


def style(name: str) -> tuple[str, str, str]:
    return name, "#0072b2", "o"


def each(**columns) -> pd.DataFrame:
    """Rows of all groups, two samples and all layers; columns are functions of the numbers of group and layer."""
    generator = np.random.default_rng(0)
    return pd.concat(
        pd.DataFrame({"network": f"{group} s{sample}", "group": group, "sample": sample, "layer": layer}
                     | {name: make(place, number, generator) for name, make in columns.items()}, index=range(8))
        for place, group in enumerate(GROUPS) for sample in range(2) for number, layer in enumerate(LAYERS)
    )  # fmt: skip


def units() -> pd.DataFrame:
    return each(
        unit=lambda *_: np.arange(8),
        weights=lambda *_: np.array([0, 1, 2, 3, 4, 5, 6, 7]),
        gap_mean=lambda place, number, random: np.r_[np.nan, 0, 1 + random.random(6) * (1 + place + number)],
        runs=lambda place, number, random: np.r_[0, 1, random.integers(1, 9, 6)],
        filled_graph_score_4=lambda place, number, random: np.r_[np.nan, 0, random.random(6)],
    )


def densities() -> pd.DataFrame:
    rows = [
        {"group": group, "layer": layer, "metric": f"{kind}_density", "n": 3, "sd": 0.01 * (1 + place),
         "mean": 0.0 if (place, number, kind) == (2, 5, "effective") else 0.1 / (1 + place) / (1 + number / 4)}
        for place, group in enumerate(GROUPS) for number, layer in enumerate([*LAYERS, "overall"])
        for kind in ("kept", "effective")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def cells(**extra) -> dict:
    row, column = np.indices((2, 4)).reshape(2, -1)
    return {"row": lambda *_: row, "column": lambda *_: column,
            "positive": lambda place, number, random: random.integers(0, 9, 8),
            "negative": lambda place, number, random: random.integers(0, 9, 8)} | extra  # fmt: skip


def input_counts() -> pd.DataFrame:
    parts = [each(**cells(channel=lambda *_, channel=channel: channel)) for channel in range(3)]
    table = pd.concat(parts)
    return table[table["layer"] == LAYERS[0]]


def patterns() -> pd.DataFrame:
    return pd.concat(
        pd.DataFrame({"group": group, "height": 3, "width": 3, "rank": range(1, 21),
                      "pattern": np.arange(20) * 7 + place, "count": np.arange(2000, 0, -100), "share": 0.01,
                      "expected": np.r_[1e-9, np.full(19, 500.0)]})
        for place, group in enumerate(GROUPS)
    )  # fmt: skip


TABLES = {
    "densities": densities(),
    "unit_structure": units(),
    "weight_positions": each(low=lambda *_: np.arange(8) / 8, high=lambda *_: np.arange(1, 9) / 8,
                             count=lambda place, number, random: random.integers(0, 20, 8)),
    "weight_clusters": each(neighbours=lambda *_: np.array([2] * 6 + [4, 8]),
                            size=lambda *_: np.array([1, 2, 2, 2, 3, 3, 2, 2]),
                            positive=lambda *_: np.array([1, 0, 1, 2, 0, 3, 2, 2]),
                            count=lambda place, number, random: random.integers(1, 20, 8)),
    "common_kernels": patterns(),
    "score_histograms": each(low=lambda *_: np.arange(8) / 8, high=lambda *_: np.arange(1, 9) / 8,
                             free=lambda place, number, random: random.integers(0, 99, 8),
                             frozen=lambda place, number, random: np.r_[random.integers(1, 99, 4), np.zeros(4, int)]),
    "input_counts": input_counts(),
    "kernel_counts": each(**cells(expected=lambda place, number, random: 8.0)),
}  # fmt: skip


@pytest.fixture
def rows(tmp_path) -> pd.DataFrame:
    """A study with every table, and a smaller one, which is not drawn."""
    return small_and_large(tmp_path, TABLES)


def images(figure) -> dict[str, np.ndarray]:
    return {image.get_gid(): np.asarray(image.get_array()) for axes in figure.axes for image in axes.images}


def test_densities_and_their_bands(rows):
    figure = layer_densities(rows, style, "a title")
    (axes,) = figure.axes
    table = TABLES["densities"]
    for place, group in enumerate(GROUPS):
        part = table[(table["group"] == group) & (table["layer"] != "overall")]
        effective, kept = (part[part["metric"] == f"{kind}_density"] for kind in ("effective", "kept"))
        np.testing.assert_allclose(np.nan_to_num(drawn(axes)[f"{group}|effective"][:, 1]), effective["mean"])
        np.testing.assert_allclose(drawn(axes)[f"{group}|kept"][:, 1], kept["mean"])
        low, high = axes.collections[place].get_paths()[0].get_extents().get_points()[:, 1]
        assert high == pytest.approx((effective["mean"] + effective["sd"]).max())
        assert low >= axes.get_ylim()[0] - 1e-12 and low <= effective["mean"][effective["mean"] > 0].min()
    assert axes.get_yscale() == "log" and drawn(axes)["empty"][:, 0].tolist() == [5]
    assert legend(figure) == [*GROUPS, "effective", "kept", "nothing effective"]


@pytest.mark.parametrize("name", UNITS)
def test_violins_of_units_pool_the_samples(rows, name):
    kind, column = UNITS[name]
    figure = kind(rows, style, "a title")
    table = TABLES["unit_structure"]
    for panel, group in zip(figure.axes, GROUPS, strict=True):
        assert panel.get_title() == group and len(panel.collections) == len(LAYERS)
        for place, layer in enumerate(LAYERS):
            part = table[(table["group"] == group) & (table["layer"] == layer)]
            least = {"gap_mean": 2, "runs": 1}.get(column, 0)
            values = part[column][part["weights"] >= least].dropna()
            assert len(values) >= 12, "both samples"
            np.testing.assert_allclose(drawn(panel)[f"{group}|{layer}"], [[place, values.mean()]])
            extents = panel.collections[place].get_paths()[0].get_extents().get_points()
            np.testing.assert_allclose(extents[:, 1], [values.min(), values.max()])
            assert np.abs(extents[:, 0] - place).max() < 0.5, "violins do not meet"
    assert figure.axes[0].get_yscale() == ("linear" if column.startswith("filled") else "log")
    assert len({tuple(panel.collections[0].get_facecolor()[0]) for panel in figure.axes}) == 3
    assert legend(figure) == ["mean"]


def test_positions_and_sign_ratios_are_weighted_by_counts(rows):
    for kind, name in ((positions, "weight_positions"), (sign_ratios, "weight_clusters")):
        table, figure = TABLES[name], kind(rows, style)
        if name == "weight_clusters":
            table = table[(table["neighbours"] == 2) & (table["size"] > 1)]
            table = table.assign(value=table["positive"] / table["size"])
        else:
            table = table.assign(value=(table["low"] + table["high"]) / 2)
        for panel, group in zip(figure.axes, GROUPS, strict=True):
            part = table[(table["group"] == group) & (table["layer"] == LAYERS[3])]
            mean = np.repeat(part["value"], part["count"]).mean()
            np.testing.assert_allclose(drawn(panel)[f"{group}|{LAYERS[3]}"], [[3, mean]])


def test_a_violin_is_widest_where_most_values_are(tmp_path):
    (tmp_path / "run.json").write_text('{"status": "complete"}')
    counts = np.array([1, 1, 90, 1, 7])
    table = pd.DataFrame(
        {"group": "a", "layer": "x", "low": np.arange(5) / 5, "high": np.arange(1, 6) / 5, "count": counts}
    )
    table.to_csv(tmp_path / "weight_positions.csv", index=False)
    (violin,) = positions(pd.DataFrame({"folder": [str(tmp_path)]}), style).axes[0].collections
    outline = violin.get_paths()[0].vertices
    assert outline[outline[:, 0].argmax(), 1] == pytest.approx(0.5, abs=0.02)


def test_common_kernels_are_pictures_with_counts(rows):
    figure = common_kernels(rows, style, "a title")
    found = images(figure)
    assert len(found) == 30
    for place, group in enumerate(GROUPS):
        for rank in (1, 2, 10):
            bits = [(7 * (rank - 1) + place) >> cell & 1 for cell in range(9)]
            assert found[f"{group}|{rank}"].ravel().tolist() == bits
    titles = [(axes.get_title(), axes.get_xlabel()) for axes in figure.axes[:3]]
    assert titles == [("2,000", ">1000x"), ("1,900", "3.8x"), ("1,800", "3.6x")]


def test_maps_are_means_over_samples(rows):
    found, table = images(input_maps(rows, style, "a title")), TABLES["input_counts"]
    for group in GROUPS:
        for channel in range(3):
            part = table[(table["group"] == group) & (table["channel"] == channel)]
            cell = part[(part["row"] == 1) & (part["column"] == 2)]
            number, excess = (cell["positive"] + sign * cell["negative"] for sign in (1, -1))
            assert found[f"{group}|number|{channel}"][1, 2] == pytest.approx(number.mean())
            assert found[f"{group}|excess|{channel}"][1, 2] == pytest.approx(excess.mean())
    figure = kernel_maps(rows, style, "a title")
    found, table = images(figure), TABLES["kernel_counts"]
    for group in GROUPS:
        part = table[(table["group"] == group) & (table["layer"] == LAYERS[19])]
        cell = part[(part["row"] == 0) & (part["column"] == 3)]
        expected = ((cell["positive"] + cell["negative"]) / 8).mean()
        assert found[f"{group}|{LAYERS[19]}"][0, 3] == pytest.approx(expected)
    assert [axes.get_title() for axes in figure.axes[:6]] == [LAYERS[place] for place in (0, 4, 8, 11, 15, 19)]


def test_histograms_are_shares_of_all_entries_of_a_group(rows):
    figure, table = score_histograms(rows, style, "a title"), TABLES["score_histograms"]
    assert [axes.get_title() for axes in figure.axes] == [LAYERS[place] for place in (0, 6, 13, 19)]
    for axes, layer in zip(figure.axes, (LAYERS[place] for place in (0, 6, 13, 19)), strict=True):
        steps = {patch.get_gid(): np.nan_to_num(patch.get_data().values) for patch in axes.patches}
        for group in GROUPS:
            part = table[(table["group"] == group) & (table["layer"] == layer)]
            sums = part.groupby("low")[["free", "frozen"]].sum()
            assert steps[f"{group}|free"].sum() + steps[f"{group}|frozen"].sum() == pytest.approx(1)
            for kind in sums:
                np.testing.assert_allclose(steps[f"{group}|{kind}"], sums[kind] / sums.to_numpy().sum())
    assert legend(figure) == [*GROUPS, "free", "frozen out"]


@pytest.mark.parametrize("name", KINDS)
def test_files_can_be_looked_at(rows, name, tmp_path):
    png, _ = save_figure(KINDS[name](rows, style, "MNIST, FC, three groups"), tmp_path / name)
    image = matplotlib.image.imread(png)[..., :3]
    assert min(image.shape[:2]) > 300 and max(image.shape[:2]) < 4000
    assert (image < 0.99).any(2).mean() > 0.01
    module, function = FIGURE_KINDS[name].target.split(":")
    assert KINDS[name].__module__ == module and KINDS[name].__name__ == function


@pytest.mark.parametrize("name", KINDS)
def test_nothing_to_draw_is_said(name, tmp_path):
    (tmp_path / "run.json").write_text('{"status": "complete"}')
    with pytest.raises(NothingToDrawError, match="no study has"):
        KINDS[name](pd.DataFrame({"folder": [str(tmp_path)]}), style)


def test_statistics_that_the_thesis_lacks(tmp_path):
    (tmp_path / "run.json").write_text('{"status": "complete"}')
    units().drop(columns="filled_graph_score_4").to_csv(tmp_path / "unit_structure.csv", index=False)
    with pytest.raises(NothingToDrawError, match="thesis"):
        kernel_scores(pd.DataFrame({"folder": [str(tmp_path)]}), style)
