"""Figures of distances: heat maps in clustered order, lines by layer, and units before and after alignment."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from permuted import masked, network
from torch import nn

from Experiments.comparison.distances.tables import distance_tables, unit_distance_table
from Experiments.comparison.networks import Network
from Layers import MaskedLinear
from Pruners.registry import style
from Utils.figures.comparison.network_distances import layer_distances, network_distances
from Utils.figures.comparison.unit_distances import unit_distances
from Utils.figures.look import NothingToDrawError


def one(seed: int, group: str, density: float) -> Network:
    torch.manual_seed(seed)
    model = nn.Sequential(MaskedLinear(20, 12), nn.ReLU(), MaskedLinear(12, 9), nn.ReLU(), MaskedLinear(9, 4))
    return network(masked(model, density, seed), (20,), f"{group} s{seed}", group, seed)


def study(folder: Path, tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    folder.mkdir()
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    (folder / "run.json").write_text('{"status": "complete"}')
    return pd.DataFrame({"folder": [str(folder)]})


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    networks = [one(seed, group, density) for group, density in (("snip", 0.2), ("erk", 0.5)) for seed in (0, 1, 2)]
    generator = np.random.default_rng(0)
    shown = [("snip s0", "snip s1"), ("snip s0", "erk s0")]
    return distance_tables(networks, generator, nulls=2) | {
        "unit_distances": unit_distance_table(networks, shown, generator)
    }


def images(figure) -> dict[str, np.ndarray]:
    return {image.get_gid(): np.ma.getdata(image.get_array()) for axes in figure.axes for image in axes.images}


def test_matrices_are_symmetric_and_in_clustered_order(tables, tmp_path):
    figure = network_distances(study(tmp_path / "study", tables), style, "a title")
    drawn = images(figure)
    assert set(drawn) == {f"{name}|{value}" for name in ("ned", "sasd", "maed") for value in ("distance", "null_mean")}
    means = tables["network_distances"].query("reduction == 'live'")
    for name in ("ned", "sasd", "maed"):
        order = tables["distance_order"].query(f"measure == '{name}'").sort_values("place")["network"].tolist()
        for value in ("distance", "null_mean"):
            matrix, part = drawn[f"{name}|{value}"], means[means["measure"] == name]
            assert len(part) == 15
            for _, row in part.iterrows():
                first, second = order.index(row["first"]), order.index(row["second"])
                assert matrix[first, second] == matrix[second, first] == pytest.approx(row[value])
        assert (np.diag(drawn[f"{name}|distance"]) == 0).all() and np.isnan(np.diag(drawn[f"{name}|null_mean"])).all()
    below = figure.axes[3]
    assert [tick.get_text() for tick in below.get_xticklabels()] == [
        tick.get_text() for tick in below.get_yticklabels()
    ]
    assert {text.get_text() for text in figure.axes[0].texts} == {
        f"{value:.2f}".lstrip("0") for value in means[means["measure"] == "ned"]["distance"]
    }


def test_many_networks_have_no_printed_values_and_no_null_has_no_row(tables, tmp_path):
    networks = [one(seed, "snip", 0.3) for seed in range(11)]
    many = distance_tables(networks, np.random.default_rng(0), ("ned",), nulls=0)
    figure = network_distances(study(tmp_path / "study", many), style, "a title")
    assert list(images(figure)) == ["ned|distance"] and not figure.axes[0].texts
    lines = layer_distances(pd.DataFrame({"folder": [str(tmp_path / "study")]}), style, "a title")
    assert [text.get_text() for text in lines.legends[0].get_texts()] == ["snip"]


def test_lines_are_means_over_pairs_of_groups(tables, tmp_path):
    figure = layer_distances(study(tmp_path / "study", tables), style, "a title")
    live = tables["layer_distances"].query("reduction == 'live' and measure == 'sasd'")
    drawn = {line.get_gid(): line.get_ydata() for line in figure.axes[1].lines}
    both = live[live["first_group"] != live["second_group"]]
    assert len(both) == 27
    for value in ("distance", "null_mean"):
        expected = both.groupby("layer", sort=False)[value].mean()
        np.testing.assert_allclose(drawn[f"sasd|erk and snip|{value}"], expected)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["snip", "erk and snip", "erk", "random networks"]


def test_units_are_drawn_as_stored_and_aligned(tables, tmp_path):
    figure = unit_distances(study(tmp_path / "study", tables), style, "a title")
    drawn, table = images(figure), tables["unit_distances"]
    part = table[(table["measure"] == "ned") & (table["second"] == "snip s1")]
    for layer in ("0", "2", "4"):
        rows = part[part["layer"] == layer]
        for value in ("distance", "unaligned_distance"):
            matrix = drawn[f"{layer}|{value}"]
            np.testing.assert_allclose(matrix[rows["row"], rows["column"]], rows[value])
    titles = [axes.get_title() for axes in figure.axes if axes.images]
    assert titles[3] == f"0: {drawn['0|distance'].diagonal().mean():.2f}"
    assert "snip s0" in figure._suptitle.get_text() and "snip s1" in figure._suptitle.get_text()


@pytest.mark.parametrize("draw", [network_distances, layer_distances, unit_distances])
def test_studies_without_distances_have_nothing_to_draw(draw, tmp_path):
    with pytest.raises(NothingToDrawError, match="no study has compared the"):
        draw(study(tmp_path / "study", {}), style, "a title")
