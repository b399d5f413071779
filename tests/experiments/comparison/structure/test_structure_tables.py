"""Tables of structure: networks of the registry, both variants, and what groups and shortcuts change."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from Experiments.comparison.networks import Network
from Experiments.comparison.structure.densities import OVERALL
from Experiments.comparison.structure.group_tests import welch_tests
from Experiments.comparison.structure.signs import effective_signs, is_shortcut, kept_signs
from Experiments.comparison.structure.statistics import expectations, layer_statistics, unit_statistics
from Experiments.comparison.structure.tables import density_tables, structure_tables, weight_tables
from Experiments.comparison.structure.thesis import thesis_means, thesis_statistics
from Layers import MaskedLinear, Masks
from Models import build
from Utils.errors import UserError

MNIST, CIFAR = (1, 28, 28), (3, 32, 32)


def network(architecture: str, shape, density: float = 1.0, group: str = "a", sample: int = 0) -> Network:
    """A network of the registry with random masks."""
    model = build(architecture, generator=torch.Generator().manual_seed(sample)).eval()
    generator = torch.Generator().manual_seed(sample)
    kept = {name: torch.rand(mask.shape, generator=generator) < density for name, mask in Masks.of(model).items()}
    Masks(kept).install(model)
    return Network(f"{group} s{sample}", group, sample, model, shape, "", "")


def tables(*networks: Network, nulls: int = 2, null_models=("layer",), **options) -> dict[str, pd.DataFrame]:
    found = structure_tables(networks, np.random.default_rng(0), nulls, null_models, **options)
    return found | weight_tables(networks, **options)


@pytest.fixture(scope="module")
def dense_layers() -> list[Network]:
    return [network("gem-miner/fc", MNIST, density, group, sample)
            for group, density in (("a", 0.1), ("b", 0.02)) for sample in range(2)]  # fmt: skip


@pytest.fixture(scope="module")
def convolutions() -> Network:
    return network("lottery/resnet20", CIFAR, 0.3)


def test_prunable_weights_of_golden_fact_13(convolutions):
    sizes = {}
    for architecture, shape in (("gem-miner/fc", MNIST), ("gem-miner/resnet20", CIFAR)):
        table = density_tables([network(architecture, shape)])["layer_densities"].set_index("layer")
        sizes[architecture] = (table.loc[OVERALL, "size"], len(table) - 1)
        assert (table.drop(columns=["network", "group", "sample"])["kept_density"] == 1).all()
        assert table["lost"].max() == 0
    assert sizes == {"gem-miner/fc": (119_400, 6), "gem-miner/resnet20": (268_336, 20)}
    every, analysed = (density_tables([convolutions], shortcuts)["layer_densities"] for shortcuts in (True, False))
    assert every["size"].iloc[-1] == 270_896 and analysed["size"].iloc[-1] == 268_336 and len(analysed) == 21
    counts = tables(convolutions, nulls=0, shortcuts=False)["common_kernels"]
    assert set(zip(counts["height"], counts["width"], strict=True)) == {(3, 3)}
    assert (counts["count"] / counts["share"]).to_numpy() == pytest.approx(29_744)


def test_relative_densities_add_up(dense_layers):
    """Golden fact 15."""
    found = density_tables(dense_layers)
    table = found["layer_densities"]
    assert not table["lost"].eq(0).all(), "some kept weights are not effective"
    for one, part in table.groupby("network", sort=False):
        layers, overall = part.iloc[:-1], part.iloc[-1]
        own = next(network for network in dense_layers if network.name == one)
        for kind in ("kept", "effective"):
            assert layers[f"{kind}_relative"].sum() == pytest.approx(overall[f"{kind}_density"])
            assert layers[kind].tolist() == [int(getattr(layer, kind).sum()) for layer in own.layers]
            np.testing.assert_allclose(layers[f"{kind}_density"], [getattr(layer, kind).mean() for layer in own.layers])
        assert (part["lost"] == part["kept"] - part["effective"]).all() and overall["layer"] == OVERALL
    means = found["densities"].set_index(["group", "layer", "metric"])
    for (group, layer), part in table.groupby(["group", "layer"]):
        own = means.loc[group, layer, "effective_density"]
        values = part["effective_density"]
        assert own["n"] == 2 and own["mean"] == pytest.approx(values.mean())
        assert own["sd"] == pytest.approx(abs(values.iloc[0] - values.iloc[1]) / 2**0.5)


def test_an_empty_network_has_no_share_of_lost_weights():
    table = density_tables([network("gem-miner/fc", MNIST, 0.0)])["layer_densities"]
    assert (table["kept"] == 0).all() and table["lost_share"].isna().all()
    found = tables(network("gem-miner/fc", MNIST, 0.0))
    values = found["layer_structure"].set_index(["layer", "statistic"])["value"]
    assert values.loc["fc1", "weights"] == values.loc["fc1", "runs"] == 0 and np.isnan(values.loc["fc1", "gap_mean"])


def test_first_layers_are_images_and_kernels_planes(dense_layers, convolutions):
    shapes = [signs.shape for signs in effective_signs(dense_layers[0]).values()]
    assert shapes == [(100, 1, 28, 28), *[(100, 1, 1, 100)] * 4, (10, 1, 1, 100)]
    signs = effective_signs(convolutions)
    assert signs["fc"].shape == (10, 1, 1, 64) and next(iter(signs.values())).shape == (16, 3, 3, 3)
    shortcuts = [name for name in signs if is_shortcut(name)]
    assert len(shortcuts) == 2 and list(effective_signs(convolutions, False)) == [
        name for name in signs if name not in shortcuts
    ]
    for layer in convolutions.layers:
        own = signs[layer.name].reshape(layer.weights.shape)
        assert (own == np.sign(layer.weights)).all() and (
            kept_signs(convolutions)[layer.name] != 0
        ).sum() == layer.kept.sum()


def test_only_the_first_layer_reads_the_image():
    """A hidden layer may have as many inputs as the image has pixels."""
    model = torch.nn.Sequential(torch.nn.Flatten(), MaskedLinear(4, 4), torch.nn.ReLU(), MaskedLinear(4, 2))
    own = Network("a", "a", 0, model.eval(), (1, 2, 2), "", "")
    assert [signs.shape for signs in effective_signs(own).values()] == [(4, 1, 2, 2), (2, 1, 1, 4)]


def test_a_weight_of_zero_is_a_weight(dense_layers):
    own = network("gem-miner/fc", MNIST, 0.5)
    with torch.no_grad():
        own.model.get_parameter("fc2.weight").zero_()
    (layer,) = (layer for layer in own.layers if layer.name == "fc2")
    assert layer.effective.any() and not layer.weights.any()
    assert np.array_equal(effective_signs(own)["fc2"].reshape(layer.weights.shape) == 1, layer.effective)


@pytest.mark.parametrize("variant", ["corrected", "thesis"])
def test_rows_are_the_statistics_of_layers(dense_layers, variant):
    found = tables(*dense_layers, variant=variant, null_models=("layer", "unit"))
    read, measure = {"corrected": (effective_signs, unit_statistics), "thesis": (kept_signs, thesis_statistics)}[
        variant
    ]
    units, layers = found["unit_structure"], found["layer_structure"]
    for own in (dense_layers[0], dense_layers[3]):
        for name, signs in read(own).items():
            part = units[(units["network"] == own.name) & (units["layer"] == name)]
            lined = signs.reshape(len(signs), 1, 1, -1) if variant == "thesis" else signs
            for column, values in measure(lined).items():
                np.testing.assert_array_equal(part[column], values)
            clusters = found["weight_clusters"]
            of = clusters[(clusters["network"] == own.name) & (clusters["layer"] == name)]
            for _, kind in of.groupby("neighbours"):
                assert (kind["size"] * kind["count"]).sum() == np.count_nonzero(signs)
            assert set(of["neighbours"]) == {2, 4, 8}
    for (_, _, statistic), part in layers.groupby(["network", "layer", "statistic"]):
        assert part["null_model"].tolist() == ["layer", "unit"] and part["value"].nunique(dropna=False) == 1
        assert statistic in found["structure_tests"]["statistic"].to_numpy()


def test_exact_expectations_stand_beside_the_numbers(dense_layers):
    found = tables(dense_layers[0], nulls=0)["layer_structure"]
    for name, signs in effective_signs(dense_layers[0]).items():
        part = found[found["layer"] == name].set_index("statistic")
        for statistic, value in expectations(signs).items():
            assert part.loc[statistic, "null_mean"] == pytest.approx(value)
        for statistic, value in layer_statistics(signs).items():
            assert part.loc[statistic, "value"] == pytest.approx(value)
    others = tables(dense_layers[0], nulls=0, null_models=("unit",))["layer_structure"]
    assert others["null_mean"].isna().all(), "they are those of shuffled layers"
    assert found["null_sd"].isna().all() and np.isnan(part.loc["gap_mean", "null_mean"])
    drawn = tables(dense_layers[0], nulls=3)["layer_structure"].set_index(["layer", "statistic"])
    gap = drawn.loc["fc1", "gap_mean"]
    assert gap["null_sd"] > 0 and abs(gap["value"] - gap["null_mean"]) < 8 * gap["null_sd"], "the mask is random"


def test_the_same_seed_gives_the_same_tables(dense_layers):
    first, second = (tables(*dense_layers[::2], nulls=1) for _ in range(2))
    for name, table in first.items():
        pd.testing.assert_frame_equal(table, second[name])
    columns = list(first["unit_structure"])[:4]
    assert columns == ["network", "group", "sample", "layer"]


def test_tables_of_convolutions(convolutions):
    found = tables(convolutions, nulls=0)
    signs = effective_signs(convolutions)
    weights = sum(np.count_nonzero(own) for own in signs.values())
    kernels = found["kernel_counts"]
    assert set(kernels["layer"]) == {layer.name for layer in convolutions.layers if layer.is_convolution}
    last = np.count_nonzero(signs[convolutions.layers[-1].name])
    assert kernels[["positive", "negative"]].to_numpy().sum() == weights - last
    inputs = found["input_counts"]
    first = convolutions.layers[0].name
    assert set(inputs["layer"]) == {first} and len(inputs) == 27
    assert inputs[["positive", "negative"]].to_numpy().sum() == np.count_nonzero(signs[first])
    assert set(found["co_occurrence"]["layer"]) == set(kernels["layer"])


def test_common_kernels_are_those_of_a_group(convolutions):
    other = network("lottery/resnet20", CIFAR, 0.05, group="b")
    found = tables(convolutions, other, nulls=0)["common_kernels"]
    for own in (convolutions, other):
        part = found[found["group"] == own.group]
        filled = sum(signs.any((2, 3)).sum() for signs in effective_signs(own).values() if signs.shape[2:] == (3, 3))
        empty = part[part["pattern"] == 0]["count"]
        assert empty.sum() == 29_744 - filled and len(part) == 20


def test_networks_without_convolutions_have_empty_tables_of_kernels(dense_layers):
    found = tables(dense_layers[0])
    assert all(found[name].empty for name in ("kernel_counts", "co_occurrence", "common_kernels"))
    assert found["structure_tests"].empty, "one group"


@pytest.mark.parametrize(
    "options, words",
    [
        ({"variant": "theses"}, "unknown variant 'theses'; did you mean 'thesis'"),
        ({"null_models": ()}, "needs one null model or more; there are layer, unit"),
        ({"null_models": ("layers",)}, "unknown null model 'layers'; did you mean 'layer'"),
    ],
)
def test_unknown_names(dense_layers, options, words):
    with pytest.raises(UserError, match=words):
        tables(*dense_layers, **options)


def test_networks_of_other_shapes_and_none(dense_layers):
    other, message = network("lottery/resnet20", CIFAR, group="b"), "a s0 and b s0 read inputs of 1x28x28 and 3x32x32"
    for make in (tables, lambda *networks: density_tables(networks)):
        with pytest.raises(UserError, match=message):
            make(dense_layers[0], other)
    for make in (weight_tables, density_tables):
        with pytest.raises(UserError, match="no network"):
            make([])


def test_welch_and_cohen_against_scipy():
    generator = np.random.default_rng(0)
    rows = [
        {"group": group, "layer": layer, "value": value}
        for group, shift, count in (("a", 0, 5), ("b", 1, 4), ("c", 0, 1))
        for layer in ("x", "y")
        for value in generator.normal(shift, 1 + shift, count)
    ]
    table = pd.DataFrame([*rows, {"group": "a", "layer": "x", "value": np.nan}])
    found = welch_tests(table, ["layer"]).set_index(["first", "second", "layer"])
    assert len(found) == 6
    for layer in ("x", "y"):
        one, other = (
            table[(table["group"] == group) & (table["layer"] == layer)]["value"].dropna() for group in ("a", "b")
        )
        expected = stats.ttest_ind(other, one, equal_var=False)
        own = found.loc["a", "b", layer]
        assert own[["t", "p", "dof"]].tolist() == pytest.approx([expected.statistic, expected.pvalue, expected.df])
        pooled = np.sqrt((4 * one.var() + 3 * other.var()) / 7)
        assert own["cohens_d"] == pytest.approx((other.mean() - one.mean()) / pooled)
        assert (own["n_first"], own["n_second"]) == (5, 4)
        single = found.loc["b", "c", layer]
        assert single["n_second"] == 1 and np.isnan(single[["t", "p"]].astype(float)).all()


def test_groups_that_do_not_vary_have_no_test():
    table = pd.DataFrame({"group": list("aabb"), "layer": "x", "value": [1.0, 1.0, 2.0, 2.0]})
    (row,) = welch_tests(table, ["layer"]).itertuples()
    assert row.difference == 1 and np.isnan([row.t, row.p, row.cohens_d, row.dof]).all()


def test_means_of_the_thesis_are_over_runs_for_signs_and_read_one_row():
    units = np.array([[1, 1, 0, 1, 1, 0, 1], [-1, -1, 0, 1, 0, 0, 0]], dtype=np.int8)[:, None, None]
    assert thesis_means(units)["run_sign_ratio"] == pytest.approx(2 / 3)  # 1, 1 and 0: the last run does not count
    assert thesis_means(np.array([[[[1, 0, 1]]]], dtype=np.int8))["run_sign_ratio"] == 0
    model = torch.nn.Sequential(torch.nn.Flatten(), MaskedLinear(4, 1))
    with torch.no_grad():
        model[1].weight_mask.copy_(torch.tensor([[True, False, True, False]]))  # one column of the image
    own = Network("a", "a", 0, model.eval(), (1, 2, 2), "", "")
    scores = {
        variant: tables(own, variant=variant)["unit_structure"]["graph_score_4"].item()
        for variant in ("corrected", "thesis")
    }
    assert scores == {"corrected": 1, "thesis": 0}
