"""Pictures: planted patches and kernels, maps of the real network, and figures that draw what the tables say."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from Experiments.comparison.activations.pictures import picture_tables, representatives
from Experiments.comparison.activations.strongest import Strongest
from Experiments.comparison.activations.tables import activation_tables
from Experiments.comparison.activations.weight_pictures import weight_tables
from Experiments.comparison.networks import Network
from Layers import MaskedConv2d, MaskedLinear
from Pruners.registry import style
from Utils.figures.comparison.images import mosaic
from Utils.figures.comparison.seen import feature_maps, patches
from Utils.figures.comparison.similarity import activation_similarity
from Utils.figures.comparison.units import matched_units, unit_correlations
from Utils.figures.comparison.weights import first_layers, kernels
from Utils.figures.look import NothingToDrawError, save_figure


def convolutional(seed: int, name: str, sample: int = 0) -> Network:
    torch.manual_seed(seed)
    model = nn.Sequential(
        MaskedConv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), MaskedConv2d(4, 5, 3), nn.ReLU(),
        nn.Flatten(), MaskedLinear(5 * 9, 6),
    )  # fmt: skip
    return Network(f"{name} s{sample}", name, sample, model.eval(), (3, 10, 10), "", "")


def dense(seed: int, name: str, sample: int = 0) -> Network:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), MaskedLinear(36, 8), nn.ReLU(), MaskedLinear(8, 4))
    model[1].weight_mask.copy_(torch.rand(8, 36) < 0.5)
    return Network(f"{name} s{sample}", name, sample, model.eval(), (1, 6, 6), "", "")


def images(count: int, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    pixels = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return pixels, (pixels.float() / 255 - 0.4) / 0.3


@pytest.fixture(scope="module")
def planted() -> dict[str, pd.DataFrame]:
    """The second kernel sees the pixel above left of the middle, and answers negatively."""
    network = convolutional(0, "a")
    first = network.model[0]
    first.weight.data.zero_()
    first.bias.data.zero_()
    first.weight.data[0, 0, 1, 1] = 1
    first.weight.data[1, 2, 0, 0] = -1
    pixels, _ = images(7, (3, 10, 10))
    pixels = pixels // 2
    pixels[4, 0, 0, 9], pixels[6, 2, 3, 5] = 255, 250
    return picture_tables([network], pixels.float() / 255, pixels, when="before", batch_size=3) | {"pixels": pixels}


def test_patches_are_where_the_absolute_activation_is_largest(planted):
    rows = planted["patches"].query("layer == '0'").set_index("unit")
    assert rows.index.tolist() == [0, 1], "the other two are dead"
    found = rows[["image", "row", "column", "activation", "top", "left", "bottom", "right"]]
    assert found.loc[0].tolist() == [4, 0, 9, 1, 0, 8, 2, 10], "the corner has a part of its window only"
    np.testing.assert_allclose(found.loc[1], [6, 4, 6, -250 / 255, 3, 5, 6, 8], atol=1e-4)


def test_patches_have_the_pixels_of_the_image(planted):
    row = planted["patches"].query("layer == '0' and unit == 1").iloc[0]
    pixels = planted["patch_pixels"]
    part = pixels[(pixels["layer"] == "0") & (pixels["place"] == row["place"])]
    expected = planted["pixels"][6, :, 3:6, 5:8].numpy()
    image = np.zeros((3, 3, 3), dtype=int)
    image[:, part["row"], part["column"]] = part[["channel_0", "channel_1", "channel_2"]].to_numpy().T
    np.testing.assert_array_equal(image, expected)
    head = planted["patches"].query("layer == '6'")
    assert (head[["top", "left", "bottom", "right"]] == [0, 0, 10, 10]).all(axis=None) and (head["row"] == 0).all()


def test_strongest_keeps_the_first_of_equal_ones_over_batches():
    values = torch.tensor([[[1.0, -3, 3], [0, 0, 0]], [[3, 0, -2], [0, 5, 0]], [[-4, 0, 4], [-5, 5, 0]]])
    whole = Strongest.of(values)
    parts = Strongest.of(values[:1]).merged(Strongest.of(values[1:2])).merged(Strongest.of(values[2:]))
    for found in (whole, parts):
        assert found.activation.tolist() == [-4, 5] and found.image.tolist() == [2, 1]
        assert found.position.tolist() == [0, 1] and found.images == 3


def test_units_of_permuted_twins_share_their_places_patches_and_maps():
    one, two = convolutional(3, "one"), convolutional(3, "two")
    order = torch.tensor([2, 0, 3, 1])
    two.model[0].weight.data = one.model[0].weight.data[order]
    two.model[0].bias.data = one.model[0].bias.data[order]
    two.model[3].weight.data = one.model[3].weight.data[:, order]
    pixels, inputs = images(20, (3, 10, 10))
    tables = picture_tables([one, two], inputs, pixels)
    for name in ("patches", "feature_maps"):
        table = tables[name]
        first, second = (table[table["network"] == member.name].reset_index(drop=True) for member in (one, two))
        shared = [column for column in ("layer", "place", "row", "column", "image", "top") if column in table]
        pd.testing.assert_frame_equal(first[shared], second[shared])
        np.testing.assert_allclose(first["activation"], second["activation"], atol=2e-4)
    units = tables["patches"].query("layer == '0'")
    pairs = units.pivot(index="place", columns="network", values="unit")
    assert (order.numpy()[pairs["two s0"]] == pairs["one s0"]).all()
    maps = tables["feature_maps"].query("network == 'one s0' and layer == '0' and place == 0")
    expected = torch.relu(one.model[0](inputs[:1]))[0, maps["unit"].iloc[0]]
    np.testing.assert_allclose(maps["activation"], expected.detach().flatten(), atol=1e-4)


def test_a_dead_partner_has_no_patch():
    one, two = dense(0, "one"), dense(1, "two")
    two.model[1].weight.data[:5].zero_()
    pixels, inputs = images(20, (1, 6, 6))
    rows = picture_tables([one, two], inputs, pixels, when="before")["patches"].query("layer == '1'")
    assert (rows["network"] == "one s0").sum() == 8
    assert sorted(rows[rows["network"] == "two s0"]["unit"]) == [5, 6, 7]


def test_first_layer_pictures_sum_over_units():
    network = dense(0, "a")
    weights = network.layers[0].weights
    table = weight_tables([network])["first_layers"]
    expected = {"sum": weights.sum(0), "absolute_sum": np.abs(weights).sum(0), "count": (weights != 0).sum(0)}
    for column, values in expected.items():
        picture = table.pivot(index="row", columns="column", values=column).to_numpy()
        np.testing.assert_allclose(picture, values.reshape(6, 6), atol=1e-4)


def test_kernels_are_those_with_the_largest_sums():
    network = convolutional(0, "a")
    table = weight_tables([network])["kernels"]
    weights = network.layers[1].weights
    strongest = np.abs(weights).sum((2, 3))
    part = table[table["layer"] == "3"].groupby("place")[["unit", "channel"]].first()
    assert len(part) == 20 and (np.diff(strongest[part["unit"], part["channel"]]) <= 0).all()
    entry = table[(table["layer"] == "3")].iloc[4]
    assert entry["weight"] == pytest.approx(
        weights[tuple(entry[["unit", "channel", "row", "column"]].astype(int))], abs=1e-4
    )


def test_representatives_are_the_first_of_each_group():
    members = [dense(sample, name, sample) for name in "ab" for sample in (0, 1)]
    assert [member.name for member in representatives(members)] == ["a s0", "b s0"]


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("study")
    members = [convolutional(10 * group + sample, name, sample) for group, name in enumerate("ab") for sample in (0, 1)]
    pixels, inputs = images(30, (3, 10, 10))
    tables = activation_tables(members, inputs) | weight_tables(members)
    tables |= picture_tables(representatives(members), inputs, pixels)
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    (folder / "run.json").write_text(json.dumps({"status": "complete"}))
    return pd.DataFrame({"folder": [str(folder)]})


FIGURES = {
    "similarity": activation_similarity, "unit-correlations": unit_correlations, "matched-units": matched_units,
    "first-layers": first_layers, "kernels": kernels, "feature-maps": feature_maps, "patches": patches,
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_drawn_from_the_tables(name, study, tmp_path):
    figure = FIGURES[name](study, style, "a title")
    assert all(path.stat().st_size > 1000 for path in save_figure(figure, tmp_path / name))
    with pytest.raises(NothingToDrawError, match="no study has"):
        FIGURES[name](study.assign(folder=str(_empty(tmp_path))), style)


def _empty(folder: Path) -> Path:
    (folder / "run.json").write_text(json.dumps({"status": "complete"}))
    return folder


def test_figures_show_the_values_of_the_tables(study):
    table = pd.read_csv(Path(study["folder"].iloc[0]) / "activation_similarity.csv")
    image = next(image for axes in activation_similarity(study, style).axes for image in axes.images)
    pair = table[(table["first"] == "a s1") & (table["second"] == "b s0")]
    assert image.get_array()[1, 2] == pytest.approx(pair["live_one_to_one"].mean())
    units = pd.read_csv(Path(study["folder"].iloc[0]) / "matched_units.csv").astype({"layer": str})
    part = units[(units["first"] == "a s0") & (units["second"] == "b s0") & (units["layer"] == "3")]
    lines = {line.get_gid(): line for axes in matched_units(study, style).axes for line in axes.lines}
    semi = lines["a s0|b s0|3|semi_correlation"].get_ydata()
    np.testing.assert_allclose(semi, part["semi_correlation"].sort_values(ascending=False))
    matrices = {image.get_gid(): image for axes in unit_correlations(study, style).axes for image in axes.images}
    diagonal = np.diag(matrices["a s0|b s0|3"].get_array())
    np.testing.assert_allclose(sorted(diagonal), sorted(part["correlation"]), atol=1e-3)


def test_patches_and_maps_are_drawn_as_stored(study):
    folder = Path(study["folder"].iloc[0])
    maps = pd.read_csv(folder / "feature_maps.csv").astype({"layer": str})
    panels = {image.get_gid(): image.get_array() for axes in feature_maps(study, style).axes for image in axes.images}
    part = maps[(maps["network"] == "b s0") & (maps["layer"] == "0") & (maps["place"] == 1)]
    expected = part.pivot(index="row", columns="column", values="activation").to_numpy()
    np.testing.assert_allclose(panels["b s0|0"][:10, 11:21], expected / expected.max(), atol=1e-3)
    pixels, _ = images(30, (3, 10, 10))
    np.testing.assert_allclose(panels["a s0|input"], pixels[0].permute(1, 2, 0) / 255, atol=1e-4)
    rows = pd.read_csv(folder / "patches.csv").astype({"layer": str})
    row = rows[(rows["network"] == "b s0") & (rows["layer"] == "6") & (rows["place"] == 2)].iloc[0]
    panels = {image.get_gid(): image.get_array() for axes in patches(study, style).axes for image in axes.images}
    drawn = panels["6"][11:21, 22:32]  # second line, third column
    np.testing.assert_allclose(drawn, pixels[row["image"]].permute(1, 2, 0) / 255)


def test_a_mosaic_centres_small_tiles():
    image = mosaic([np.ones((3, 3)), np.full((1, 1), 2.0), np.ones((3, 3))], 2)
    assert image.shape == (7, 7) and image[1, 5] == 2 and np.isnan(image[0, 4]) and np.isnan(image[3]).all()
    assert np.isnan(image[4:, 4:]).all() and (image[:3, :3] == 1).all()
